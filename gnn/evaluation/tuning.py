"""Fits every baseline with settings chosen on a validation part of the indexed images, never on test.

A part of the indexed images is held back as queries, the settings that rank best for them (nDCG@5) are
chosen, and the baseline is fitted again on all indexed images. For naming tags the settings are chosen
apart, by R@5 and F1, since what names tags best (less training, for instance) is not what ranks best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gnn.evaluation.baselines import SearchBaseline, TagPredictor, TagSpace
from gnn.evaluation.grids import Grids, try_mlps, try_ridges, try_votes, try_whitened_votes
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.validation import Best, Recipe, Validation
from graph_store.arrays import Float32Array, Int64Array
from graph_store.progress import Progress, SilentProgress

RAW = "raw kNN"
VOTE = "vote"
WHITENED_VOTE = "whitened vote"
RIDGE = "ridge"
MLP = "MLP"
FAMILIES = (VOTE, WHITENED_VOTE, RIDGE, MLP)


@dataclass(frozen=True)
class Choice:
    """The settings chosen for one baseline and its nDCG@5 on the validation part."""

    name: str
    settings: dict[str, Any]
    validation_ndcg: float


@dataclass(frozen=True, eq=False)
class Baselines:
    """All fitted baselines: `searches` rank images; `predictors` name tags, by family.

    recipes: how to make each family's predictor again from other features or tags: as it was chosen for
    searching, and as for naming tags.
    """

    searches: dict[str, SearchBaseline]
    predictors: dict[str, TagPredictor]
    choices: tuple[Choice, ...]
    recipes: dict[str, tuple[Recipe, Recipe]]


def fit_baselines(
    features: Float32Array,
    tags: TagTable,
    *,
    seed: int = 0,
    grids: Grids | None = None,
    progress: Progress | None = None,
) -> Baselines:
    """Tune and fit all baselines on the indexed images.

    features: [num_indexed, feature_dim], unit rows; tags: of the same images. With too few tagged images to
    hold any back (fewer than ten) or without any tag there is only the raw search.
    """
    grids = grids or Grids()
    progress = progress or SilentProgress()
    searches = {RAW: SearchBaseline(features)}
    predictors: dict[str, TagPredictor] = {}
    tagged = np.flatnonzero(tags.sizes() > 0)
    if len(tagged) < 10:
        return Baselines(searches, predictors, (Choice(RAW, {}, float("nan")),), {})
    validation = Validation(features, tags, *held_back(tagged, grids, seed))
    choices = [Choice(RAW, {}, validation.ndcg(validation.raw))]
    seen: dict[str, Best] = {}
    recipes: dict[str, tuple[Recipe, Recipe]] = {}
    with progress.phase("tuning baselines", len(FAMILIES)) as advance:
        for name in FAMILIES:
            best = _try(name, validation, seen, grids, seed)
            seen[name] = best
            search, naming = best.both()
            ranker = search.fit(features, tags)
            recipes[name] = search, naming
            predictors[name] = ranker if naming is search else naming.fit(features, tags)
            for label, weights in ((name, (1.0,)), (f"{name} + raw", grids.concept_weights)):
                score, power, weight = validation.best_fusion(search.predicted, grids.idf_powers, weights)
                searches[label] = SearchBaseline(features, ranker, TagSpace.build(tags, power), weight)
                settings = {**search.settings, "idf_power": power, "concept_weight": weight}
                choices.append(Choice(label, settings, score))
            advance(1)
    return Baselines(searches, predictors, tuple(choices), recipes)


def held_back(tagged: Int64Array, grids: Grids, seed: int) -> tuple[Int64Array, Int64Array]:
    """A seeded part of the tagged images as queries, and those that stay indexed; a small catalogue gives a
    larger share (up to 30 %).
    """
    chosen = np.random.default_rng(seed).permutation(tagged)[: grids.tuning_images]
    wanted = max(int(len(chosen) * grids.validation_share), min(250, int(len(chosen) * 0.3)), 2)
    held = min(wanted, grids.validation_images)
    return np.sort(chosen[:held]), np.sort(chosen[held:])


def _try(name: str, validation: Validation, seen: dict[str, Best], grids: Grids, seed: int) -> Best:
    """All settings of one family; the perceptron stands on the better of the two votes."""
    if name == VOTE:
        return try_votes(validation, grids)
    if name == WHITENED_VOTE:
        return try_whitened_votes(validation, grids)
    if name == RIDGE:
        return try_ridges(validation, grids)
    votes = [seen[v].both()[0] for v in (VOTE, WHITENED_VOTE)]
    return try_mlps(validation, max(votes, key=lambda v: v.search_score), grids, seed)
