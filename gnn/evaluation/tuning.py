"""Fits every baseline with settings chosen on a validation part of the indexed images, never on test.

A part of the indexed images is held back as queries, the settings that rank best for them (nDCG@5) are
chosen, and the baseline is fitted again on all indexed images. The grids are small and were laid around
what won on photographs, drawings and captions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from gnn.evaluation.baselines import (
    Neighbours,
    RidgePredictor,
    SearchBaseline,
    TagPredictor,
    TagSpace,
    VotePredictor,
    Whitening,
)
from gnn.evaluation.metrics import Float64Array, ideal_gains, ndcg_at_k, ranked_gains
from gnn.evaluation.mlp import MlpConfig, MlpInputs, MlpPredictor, probabilities, train_network
from gnn.evaluation.relevance import TagTable, jaccard_gains
from graph_store.arrays import Float32Array, Int64Array
from graph_store.progress import Progress, SilentProgress

RAW = "raw kNN"
VOTE = "vote"
WHITENED_VOTE = "whitened vote"
RIDGE = "ridge"
MLP = "MLP"


@dataclass(frozen=True)
class Grids:
    """What is tried. Defaults take about two minutes for 4,833 images on two cores."""

    neighbours: tuple[int, ...] = (10, 20, 40, 80)
    raw_sharpness: tuple[float, ...] = (10.0, 20.0, 40.0)
    whitenings: tuple[tuple[int, float], ...] = ((128, 0.5), (256, 0.5), (256, 0.75), (512, 0.5), (512, 1.0))
    white_sharpness: tuple[float, ...] = (5.0, 10.0, 20.0)
    ridge_penalties: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    idf_powers: tuple[float, ...] = (0.0, 0.5, 1.0)
    concept_weights: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    mlps: tuple[MlpConfig, ...] = (
        MlpConfig(),
        MlpConfig(weight_decay=1.0),
        MlpConfig(hidden=1024, input_dropout=0.4),
        MlpConfig(input_dropout=0.0, weight_decay=0.02),
        MlpConfig(hidden=256, dropout=0.3, input_dropout=0.1),
    )
    patience: int = 5
    tuning_images: int = 6000
    validation_share: float = 0.15
    validation_images: int = 900


QUICK_GRIDS = Grids(
    neighbours=(20, 40),
    raw_sharpness=(20.0,),
    whitenings=((256, 0.5),),
    white_sharpness=(10.0, 20.0),
    ridge_penalties=(0.03, 0.1, 0.3),
    idf_powers=(0.0, 0.5),
    mlps=(MlpConfig(),),
    tuning_images=3000,
    validation_images=500,
)


@dataclass(frozen=True)
class Choice:
    """The settings chosen for one baseline and its nDCG@5 on the validation part."""

    name: str
    settings: dict[str, Any]
    validation_ndcg: float


@dataclass(frozen=True, eq=False)
class Baselines:
    """All fitted baselines: `searches` rank images, `predictors` score tags; the names are shared."""

    searches: dict[str, SearchBaseline]
    predictors: dict[str, TagPredictor]
    choices: tuple[Choice, ...]


class _Validation:
    """The held-back queries, their graded relevance to the fitting part, and the score of a ranking."""

    def __init__(self, features: Float32Array, tags: TagTable, queries: Int64Array, fit: Int64Array) -> None:
        self.features, self.tags = features[fit], tags.rows(fit)
        self.queries = features[queries]
        self.gains = jaccard_gains(tags.rows(queries), self.tags)
        self._ideal = ideal_gains(self.gains, 5)
        self.raw = self.queries @ self.features.T
        self._spaces: dict[float, TagSpace] = {}

    def ndcg(self, scores: Float32Array) -> float:
        """Mean nDCG@5 of [num_queries, num_fit] scores."""
        per_query: Float64Array = ndcg_at_k(ranked_gains(scores, self.gains, 5), self._ideal, 5)
        return float(np.nanmean(per_query)) if np.isfinite(per_query).any() else 0.0

    def cosine(self, predicted: Float32Array, idf_power: float) -> Float32Array:
        """Tag-space cosine of predictions with the fitting part."""
        if idf_power not in self._spaces:
            self._spaces[idf_power] = TagSpace.build(self.tags, idf_power)
        return self._spaces[idf_power].cosine(predicted)

    def best_idf(self, predicted: Float32Array, powers: tuple[float, ...]) -> tuple[float, float]:
        """(nDCG@5, idf power) of the best idf power for these predictions."""
        return max((self.ndcg(self.cosine(predicted, p)), -p) for p in powers)

    def best_fusion(self, predicted: Float32Array, grids: Grids) -> tuple[float, float, float]:
        """(nDCG@5, idf power, concept weight) of the best late fusion with the raw cosine."""
        best = (-1.0, 0.0, 1.0)
        for power in grids.idf_powers:
            concept = self.cosine(predicted, power)
            for w in grids.concept_weights:
                score = self.ndcg(np.float32(w) * concept + np.float32(1 - w) * self.raw)
                if score > best[0]:
                    best = (score, power, w)
        return best


@dataclass(frozen=True, eq=False)
class _Tuned:
    """A predictor family's chosen settings, its validation predictions and how to fit it on everything."""

    name: str
    settings: dict[str, Any]
    predicted: Float32Array
    fit: Callable[[Float32Array, TagTable], TagPredictor]


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
    raw = SearchBaseline(features)
    rng = np.random.default_rng(seed)
    tagged = np.flatnonzero(tags.sizes() > 0)
    if len(tagged) < 10:
        return Baselines({RAW: raw}, {}, (Choice(RAW, {}, float("nan")),))
    chosen = rng.permutation(tagged)[: grids.tuning_images]
    held = max(2, min(int(len(chosen) * grids.validation_share), grids.validation_images))
    validation = _Validation(features, tags, np.sort(chosen[:held]), np.sort(chosen[held:]))

    searches: dict[str, SearchBaseline] = {RAW: raw}
    predictors: dict[str, TagPredictor] = {}
    choices = [Choice(RAW, {}, validation.ndcg(validation.raw))]
    with progress.phase("tuning baselines", 4) as advance:
        votes: dict[str, _Tuned] = {}
        for name, tuned in (
            (VOTE, _tune_vote(validation, grids)),
            (WHITENED_VOTE, _tune_whitened_vote(validation, grids)),
            (RIDGE, _tune_ridge(validation, grids)),
            (MLP, None),
        ):
            if tuned is None:
                better = max(votes.values(), key=lambda v: validation.best_idf(v.predicted, grids.idf_powers))
                tuned = _tune_mlp(validation, better, grids, seed)
            elif name != RIDGE:
                votes[name] = tuned
            predictor = tuned.fit(features, tags)
            predictors[name] = predictor
            score, minus_power = validation.best_idf(tuned.predicted, grids.idf_powers)
            fused, fused_power, weight = validation.best_fusion(tuned.predicted, grids)
            alone = {**tuned.settings, "idf_power": -minus_power}
            both = {**tuned.settings, "idf_power": fused_power, "concept_weight": weight}
            searches[name] = SearchBaseline(features, predictor, TagSpace.build(tags, -minus_power))
            searches[f"{name} + raw"] = SearchBaseline(
                features, predictor, TagSpace.build(tags, fused_power), weight
            )
            choices += [Choice(name, alone, score), Choice(f"{name} + raw", both, fused)]
            advance(1)
    return Baselines(searches, predictors, tuple(choices))


def _tune_vote(validation: _Validation, grids: Grids) -> _Tuned:
    """The vote on raw features."""
    found = Neighbours.find(validation.queries, validation.features, max(grids.neighbours))
    _, k, sharpness, predicted = _best_vote(validation, found, grids, grids.raw_sharpness)

    def fit(features: Float32Array, tags: TagTable) -> TagPredictor:
        return VotePredictor(features, tags, k, sharpness)

    return _Tuned(VOTE, {"k": k, "sharpness": sharpness}, predicted, fit)


def _tune_whitened_vote(validation: _Validation, grids: Grids) -> _Tuned:
    """The vote on PCA-whitened features."""
    best: tuple[float, int, float, Float32Array, int, float] | None = None
    for dim, power in grids.whitenings:
        whitening = Whitening.fit(validation.features, dim, power)
        found = Neighbours.find(
            whitening(validation.queries), whitening(validation.features), max(grids.neighbours)
        )
        result = _best_vote(validation, found, grids, grids.white_sharpness)
        if best is None or result[0] > best[0]:
            best = (*result, dim, power)
    if best is None:
        raise ValueError("the grids name no whitening")
    _, k, sharpness, predicted, chosen_dim, chosen_power = best

    def fit(features: Float32Array, tags: TagTable) -> TagPredictor:
        whitening = Whitening.fit(features, chosen_dim, chosen_power)
        return VotePredictor(whitening(features), tags, k, sharpness, whitening)

    settings = {"k": k, "sharpness": sharpness, "dim": chosen_dim, "power": chosen_power}
    return _Tuned(WHITENED_VOTE, settings, predicted, fit)


def _best_vote(
    validation: _Validation, found: Neighbours, grids: Grids, sharpnesses: tuple[float, ...]
) -> tuple[float, int, float, Float32Array]:
    """(nDCG@5, k, sharpness, predictions) of the best vote over the given neighbours."""
    best: tuple[float, int, float, Float32Array] | None = None
    for k in grids.neighbours:
        for sharpness in sharpnesses:
            predicted = found.vote(validation.tags, k, sharpness)
            score = validation.ndcg(validation.cosine(predicted, 0.0))
            if best is None or score > best[0]:
                best = (score, k, sharpness, predicted)
    if best is None:
        raise ValueError("the grids name no vote")
    return best


def _tune_ridge(validation: _Validation, grids: Grids) -> _Tuned:
    """Ridge regression to tags."""
    tried = []
    path = RidgePredictor.path(validation.features, validation.tags, grids.ridge_penalties)
    for penalty, ridge in zip(grids.ridge_penalties, path, strict=True):
        predicted = ridge.predict(validation.queries)
        tried.append((validation.ndcg(validation.cosine(predicted, 0.0)), penalty, predicted))
    _, penalty, predicted = max(tried, key=lambda t: t[0])

    def fit(features: Float32Array, tags: TagTable) -> TagPredictor:
        return RidgePredictor.fit(features, tags, penalty)

    return _Tuned(RIDGE, {"penalty": penalty}, predicted, fit)


def _own_votes(vote: VotePredictor) -> Float32Array:
    """The vote of every indexed image for itself, the image left out. -> [num_indexed, num_tags]"""
    own = np.arange(len(vote.index), dtype=np.int64)
    return Neighbours.find(vote.index, vote.index, vote.k, own).vote(vote.tags, vote.k, vote.sharpness)


def _tune_mlp(validation: _Validation, voter: _Tuned, grids: Grids, seed: int) -> _Tuned:
    """The perceptron: size, regularisation and number of epochs."""
    vote = voter.fit(validation.features, validation.tags)
    assert isinstance(vote, VotePredictor)
    votes = _own_votes(vote)
    scaler = MlpInputs.fit(validation.features, votes)
    train_inputs = scaler(validation.features, votes)
    query_inputs = scaler(validation.queries, vote.predict(validation.queries))
    best: tuple[float, MlpConfig, Float32Array] | None = None
    for config in grids.mlps:
        scores: list[float] = []
        predictions: list[Float32Array] = []

        def after_epoch(
            epoch: int,
            network: nn.Module,
            scores: list[float] = scores,
            predictions: list[Float32Array] = predictions,
        ) -> bool:
            predictions.append(probabilities(network, query_inputs))
            scores.append(validation.ndcg(validation.cosine(predictions[-1], 0.0)))
            return epoch - 1 - int(np.argmax(scores)) >= grids.patience

        longest = replace(config, epochs=max(config.epochs, 30))
        train_network(train_inputs, validation.tags, longest, seed=seed, after_epoch=after_epoch)
        peak = int(np.argmax(scores))
        if best is None or scores[peak] > best[0]:
            best = (scores[peak], replace(config, epochs=peak + 1), predictions[peak])
    if best is None:
        raise ValueError("the grids name no perceptron")
    _, chosen, predicted = best

    def fit(features: Float32Array, tags: TagTable) -> TagPredictor:
        full_vote = voter.fit(features, tags)
        assert isinstance(full_vote, VotePredictor)
        full_votes = _own_votes(full_vote)
        inputs = MlpInputs.fit(features, full_votes)
        network = train_network(inputs(features, full_votes), tags, chosen, seed=seed)
        return MlpPredictor(network, inputs, full_vote)

    settings = {
        "hidden": chosen.hidden,
        "dropout": chosen.dropout,
        "input_dropout": chosen.input_dropout,
        "weight_decay": chosen.weight_decay,
        "epochs": chosen.epochs,
        "vote": voter.name,
    }
    return _Tuned(MLP, settings, predicted, fit)
