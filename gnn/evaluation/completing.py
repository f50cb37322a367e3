"""Tunes the baselines of *incomplete* and *completion* anew, on the tags that are left.

With half of the tags hidden, other settings are best than with all of them. So what the two parts ask is
asked of a validation part, where half of the visible tags are hidden once more: what finds the images that
carry those, or names them, best is chosen. What is hidden when it counts is never looked at. The perceptron
keeps its settings, chosen for searching and for naming with all tags there: to choose them takes minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.baselines import Neighbours, TagSpace, Whitening
from gnn.evaluation.grids import Grids, vote_recipe
from gnn.evaluation.metrics import Float64Array, recall_at_k, top_k
from gnn.evaluation.protocol.completion import NAMED, drawn_images
from gnn.evaluation.protocol.incomplete import carrier_precision, hide_edges, tag_queries
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.systems import completed_rows
from gnn.evaluation.tuning import MLP, WHITENED_VOTE, Baselines, Choice, held_back
from gnn.evaluation.validation import Recipe
from graph_store.arrays import BoolArray, Float32Array, Int64Array

MOST_QUESTIONS = 500
MOST_NAMED = 1000
_FEWEST, _MOST = 5, 100
_LOOKS = 0.1


@dataclass(frozen=True, eq=False)
class Completing:
    """How the baselines complete tags.

    finding, naming: each family's predictor for *incomplete* and for *completion*; looks: by family, the
    weight of likeness beside what the predictor of `finding` says; concept_weight: of the one known tag
    beside likeness, in tag space.
    """

    finding: Mapping[str, Recipe]
    naming: Mapping[str, Recipe]
    looks: Mapping[str, float]
    concept_weight: float

    def choices(self) -> tuple[Choice, ...]:
        """The chosen settings, for the report."""
        undefined = float("nan")
        chosen = [
            Choice(
                f"{name}, completing tags", {**recipe.settings, "looks_weight": self.looks[name]}, undefined
            )
            for name, recipe in self.finding.items()
        ]
        chosen += [
            Choice(f"{name}, naming hidden tags", recipe.settings, undefined)
            for name, recipe in self.naming.items()
        ]
        return (*chosen, Choice("one tag + raw", {"concept_weight": self.concept_weight}, undefined))


def tune_completing(
    features: Float32Array, visible: TagTable, baselines: Baselines, grids: Grids, seed: int
) -> Completing | None:
    """Choose on the visible tags of the indexed images; None where the baselines have no tag predictor or
    fewer than ten images a tag.

    features: [num_indexed, feature_dim], unit rows. One neighbour list for each whitened space serves all
    numbers of neighbours; one perceptron is trained.
    """
    tagged = np.flatnonzero(visible.sizes() > 0)
    if len(tagged) < 10 or not baselines.recipes:
        return None
    again = _HiddenAgain(features, visible, held_back(tagged, grids, seed), seed)
    finding, naming = again.best_votes(grids)
    chosen_finding, chosen_naming = {WHITENED_VOTE: finding}, {WHITENED_VOTE: naming}
    if MLP in baselines.recipes:
        chosen_finding[MLP], chosen_naming[MLP] = baselines.recipes[MLP]
    looks = {
        name: again.best_looks(recipe.fit(again.features, again.seen).predict_indexed(again.features), grids)
        for name, recipe in chosen_finding.items()
    }
    return Completing(chosen_finding, chosen_naming, looks, again.best_concept_weight(grids))


class _HiddenAgain:
    """A validation part as queries, and the images that stay indexed with half of their visible tags.

    features: of those that stay indexed; seen: the tags that they keep.
    """

    def __init__(
        self,
        features: Float32Array,
        visible: TagTable,
        parts: tuple[Int64Array, Int64Array],
        seed: int,
    ) -> None:
        queries, kept = parts
        self.features, self._true = features[kept], visible.rows(kept)
        self.seen = TagTable.from_csr(hide_edges(self._true.csr(), seed=seed), visible.num_tags)
        self._asked = tag_queries(
            visible.rows(queries), self._true, fewest=_FEWEST, most=_MOST, limit=MOST_QUESTIONS, seed=seed
        )
        self._raw = features[queries[self._asked.images]] @ self.features.T
        self._rows = drawn_images(len(kept), MOST_NAMED, seed)
        self._shown: BoolArray = self.seen.rows(self._rows).dense()
        self._lacking: BoolArray = self._true.rows(self._rows).dense() & ~self._shown

    def named(self, scores: Float32Array) -> float:
        """R@5 as in *completion*. scores: [num_kept, num_tags]."""
        best = top_k(np.where(self._shown, -np.inf, scores[self._rows]), NAMED)
        hits = np.take_along_axis(self._lacking, best, axis=1)
        return _mean(recall_at_k(hits, self._lacking.sum(axis=1), NAMED))

    def found(self, scores: Float32Array, looks: float) -> float:
        """R-precision as in *incomplete*. scores: [num_kept, num_tags]."""
        if not len(self._asked.tags):
            return 0.0
        depth = int(self._asked.total.max())
        rows = completed_rows(self.seen, scores, self._raw, self._asked.tags, depth, looks)
        return _mean(carrier_precision(rows, self._asked, self._true))

    def best_votes(self, grids: Grids) -> tuple[Recipe, Recipe]:
        """The whitened votes that find, and that name, best; the first wins a tie."""
        own = np.arange(len(self.features), dtype=np.int64)
        tried = []
        for dim, power in grids.whitenings:
            inside = Whitening.fit(self.features, dim, power)(self.features)
            near = Neighbours.find(inside, inside, max(grids.hidden_neighbours), own)
            for k in grids.hidden_neighbours:
                for sharpness in grids.white_sharpness:
                    scores = near.vote(self.seen, k, sharpness)
                    recipe = vote_recipe(k, sharpness, (dim, power))
                    tried.append((self.found(scores, _LOOKS), self.named(scores), recipe))
        return max(tried, key=lambda t: t[0])[2], max(tried, key=lambda t: t[1])[2]

    def best_looks(self, scores: Float32Array, grids: Grids) -> float:
        """The weight of likeness beside such scores."""
        return max(grids.looks_weights, key=lambda looks: self.found(scores, looks))

    def best_concept_weight(self, grids: Grids) -> float:
        """The weight of the one known tag beside likeness."""
        if not len(self._asked.tags):
            return max(grids.concept_weights)
        known = np.zeros((len(self._asked.tags), self.seen.num_tags), dtype=np.float32)
        known[np.arange(len(known)), self._asked.tags] = 1
        concept = TagSpace.build(self.seen, 0.0).cosine(known)
        depth = int(self._asked.total.max())

        def found(weight: float) -> float:
            rows = top_k(np.float32(weight) * concept + np.float32(1 - weight) * self._raw, depth)
            return _mean(carrier_precision(rows, self._asked, self._true))

        return max(grids.concept_weights, key=found)


def _mean(values: Float64Array) -> float:
    """The mean of what is defined, 0 where nothing is."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
