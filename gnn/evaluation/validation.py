"""Held-back queries out of the indexed images, on which the settings of the baselines are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnn.evaluation.baselines import TagPredictor, TagSpace
from gnn.evaluation.metrics import ideal_gains, ndcg_at_k, ranked_gains, recall_at_k, top_k
from gnn.evaluation.relevance import TagTable, jaccard_gains
from gnn.evaluation.tag_measures import tag_measures
from graph_store.arrays import Float32Array, Int64Array

FitOnAll = Callable[[Float32Array, TagTable], TagPredictor]


@dataclass(frozen=True, eq=False)
class Recipe:
    """One setting of a tag predictor; fit makes it from features and tags."""

    settings: dict[str, Any]
    fit: FitOnAll


@dataclass(frozen=True, eq=False)
class Candidate(Recipe):
    """A recipe with its predictions for the held-back queries and what they are worth.

    predicted: [num_queries, num_tags]; search_score: nDCG@5 in plain tag space; tag_score: mean of R@5 and
    F1.
    """

    predicted: Float32Array
    search_score: float
    tag_score: float


@dataclass
class Best:
    """The best candidate seen so far for searching and for naming tags; the first wins a tie."""

    search: Candidate | None = None
    tags: Candidate | None = None

    def see(self, candidate: Candidate) -> None:
        """Compare one more."""
        if self.search is None or candidate.search_score > self.search.search_score:
            self.search = candidate
        if self.tags is None or candidate.tag_score > self.tags.tag_score:
            self.tags = candidate

    def both(self) -> tuple[Candidate, Candidate]:
        """(for searching, for naming tags); ValueError when nothing was tried."""
        if self.search is None or self.tags is None:
            raise ValueError("the grids leave nothing to try")
        return self.search, self.tags


class Validation:
    """The held-back queries, the images that stay indexed, and the scores of rankings and tags."""

    def __init__(self, features: Float32Array, tags: TagTable, queries: Int64Array, fit: Int64Array) -> None:
        """features: [num_indexed, feature_dim] unit rows; queries, fit: rows of the two parts."""
        self.num_indexed = len(queries) + len(fit)
        self.features, self.tags = features[fit], tags.rows(fit)
        self.queries, self._query_tags = features[queries], tags.rows(queries)
        self._gains = jaccard_gains(self._query_tags, self.tags)
        self._ideal = ideal_gains(self._gains, 5)
        self.raw = self.queries @ self.features.T
        self._spaces: dict[float, TagSpace] = {}

    def ndcg(self, scores: Float32Array) -> float:
        """Mean nDCG@5 of [num_queries, num_fit] scores."""
        per_query = ndcg_at_k(ranked_gains(scores, self._gains, 5), self._ideal, 5)
        return float(np.nanmean(per_query)) if np.isfinite(per_query).any() else 0.0

    def candidate(self, settings: dict[str, Any], predicted: Float32Array, fit: FitOnAll) -> Candidate:
        """Score the predictions of one setting."""
        truth = self._query_tags.dense()
        hits = np.take_along_axis(truth, top_k(predicted, 5), axis=1)
        recall = float(np.nanmean(recall_at_k(hits, truth.sum(axis=1), 5)))
        tag_score = (recall + tag_measures(predicted, truth).f1_of_means) / 2
        return Candidate(settings, fit, predicted, self.ndcg(self.cosine(predicted, 0.0)), tag_score)

    def cosine(self, predicted: Float32Array, idf_power: float) -> Float32Array:
        """Tag-space cosine of predictions with the images that stay indexed."""
        if idf_power not in self._spaces:
            self._spaces[idf_power] = TagSpace.build(self.tags, idf_power)
        return self._spaces[idf_power].cosine(predicted)

    def best_fusion(
        self, predicted: Float32Array, idf_powers: tuple[float, ...], concept_weights: tuple[float, ...]
    ) -> tuple[float, float, float]:
        """(nDCG@5, idf power, concept weight) of the best late fusion with the raw cosine; the first wins."""
        tried = []
        for power in idf_powers:
            concept = self.cosine(predicted, power)
            for w in concept_weights:
                tried.append((self.ndcg(np.float32(w) * concept + np.float32(1 - w) * self.raw), power, w))
        return max(tried, key=lambda t: t[0])
