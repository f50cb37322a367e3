"""The compared systems: presets through the real query engine, baselines through their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from gnn.evaluation.baselines import SearchBaseline
from gnn.evaluation.metrics import Float64Array, top_k
from gnn.evaluation.protocol.labels import Asked
from gnn.evaluation.relevance import TagTable, chunks
from gnn.query import Hits, Query, QueryTag, QueryVectors
from graph_store.arrays import BoolArray, Float32Array, Int64Array
from graph_store.errors import EmptyQuery

DEFAULT_VISUAL_WEIGHT = 0.5


class Engine(Protocol):
    """What the evaluation needs of `gnn.query.QueryEngine`."""

    @property
    def tag_names(self) -> Sequence[str]:
        """By tag column."""

    @property
    def image_ids(self) -> Sequence[str]:
        """By index row."""

    def embed_many(self, queries: Sequence[Query]) -> list[QueryVectors]:
        """Attach and embed."""

    def search(
        self,
        vectors: QueryVectors,
        visual_weight: float,
        k: int,
        allowed: Int64Array | None = None,
        exclude: Sequence[int] = (),
    ) -> Hits:
        """The k best indexed images."""

    def tag_scores(self, features: Float32Array) -> Float32Array:
        """[n, num_tags] by which tags of new pictures are ordered."""

    def tag_scores_of(self, rows: Int64Array) -> Float32Array:
        """[len(rows), num_tags]: the same for indexed images, which do not speak for themselves."""

    def chances(self, scores: Float32Array) -> Float32Array:
        """Calibrated probabilities for such scores."""


@dataclass(frozen=True, eq=False)
class EngineSystem:
    """A preset. All answers come through the engine that also serves."""

    engine: Engine

    def image_queries(
        self, features: Float32Array, known: TagTable | None = None, attach: Literal["auto", "mixed"] = "auto"
    ) -> list[QueryVectors | None]:
        """One picture each, with its known tags where given; None where the parts of a query cancel.

        features: [n, feature_dim] unit rows; known: [n images], columns of the engine's vocabulary.
        """
        queries = []
        for i, row in enumerate(features):
            names = [] if known is None else [self.engine.tag_names[t] for t in known.tags_of(i)]
            query = Query(images=row[None, :], image_weights=(1.0,), tags=tuple(QueryTag(n) for n in names))
            queries.append(replace(query, attach=attach) if names else query)
        return self._embed(queries)

    def refusing_queries(self, features: Float32Array, tags: Int64Array) -> list[QueryVectors | None]:
        """One picture each, without one of the things that it shows. tags: [n] columns."""
        names = [self.engine.tag_names[tag] for tag in tags]
        return self._embed(
            [
                Query(images=row[None, :], tags=(QueryTag(name, -1.0),))
                for row, name in zip(features, names, strict=True)
            ]
        )

    def text_queries(self, texts: Sequence[str]) -> list[QueryVectors | None]:
        """One free text each."""
        return self._embed([Query(images=None, text=text) for text in texts])

    def _embed(self, queries: Sequence[Query]) -> list[QueryVectors | None]:
        """In batches; a batch with a cancelling query is embedded one by one."""
        vectors: list[QueryVectors | None] = []
        for start in range(0, len(queries), 256):
            batch = queries[start : start + 256]
            try:
                vectors += self.engine.embed_many(batch)
            except EmptyQuery:
                for query in batch:
                    try:
                        vectors += self.engine.embed_many([query])
                    except EmptyQuery:
                        vectors.append(None)
        return vectors

    def rows(self, vectors: Sequence[QueryVectors | None], visual_weight: float, k: int) -> Int64Array:
        """[n, k] index rows, -1 where fewer came back or the query cancels at this place of the slider."""
        found = np.full((len(vectors), k), -1, dtype=np.int64)
        for i, each in enumerate(vectors):
            if each is None:
                continue
            try:
                hits = self.engine.search(each, visual_weight, k).rows[:k]
            except EmptyQuery:
                continue
            found[i, : len(hits)] = hits
        return found

    def preferred(
        self, vectors: Sequence[QueryVectors | None], visual_weight: float, triplets: Asked
    ) -> Float64Array:
        """[t]: 1 where the more alike image of a triplet comes first, 0.5 where the query cancels."""
        right = np.full(len(triplets.query), 0.5)
        for i, query in enumerate(triplets.query):
            each = vectors[query]
            if each is not None:
                pair = np.sort([triplets.positive[i], triplets.negative[i]])
                first = self.engine.search(each, visual_weight, 1, pair).rows[0]
                right[i] = first == triplets.positive[i]
        return right

    def tag_scores(self, features: Float32Array) -> Float32Array:
        """[n, num_tags], by which the tags are ordered."""
        parts = [
            self.engine.tag_scores(features[start : start + 512]) for start in range(0, len(features), 512)
        ]
        return np.concatenate([np.zeros((0, len(self.engine.tag_names)), np.float32), *parts])


@dataclass(frozen=True, eq=False)
class BaselineSystem:
    """A simple baseline. It ranks the whole index by its scores, equal scores by lower row."""

    search: SearchBaseline

    def rows(self, features: Float32Array, k: int, known: BoolArray | None = None) -> Int64Array:
        """[n, k] index rows. known: [n, num_tags] the queries' own tags, where given."""
        found = np.full((len(features), k), -1, dtype=np.int64)
        for part in chunks(len(features), max(len(self.search.features), 1)):
            tags = None if known is None else known[part]
            best = top_k(self.search.scores(features[part], tags), k)
            found[part, : best.shape[1]] = best
        return found

    def preferred(self, features: Float32Array, triplets: Asked) -> Float64Array:
        """[t]: 1 where the more alike image of a triplet scores higher, 0.5 where both score the same."""
        right = np.full(len(triplets.query), 0.5)
        for part in chunks(len(features), max(len(self.search.features), 1)):
            here = np.flatnonzero((triplets.query >= part.start) & (triplets.query < part.stop))
            scores = self.search.scores(features[part])
            rows = triplets.query[here] - part.start
            gap = scores[rows, triplets.positive[here]] - scores[rows, triplets.negative[here]]
            right[here] = (np.sign(gap) + 1) / 2
        return right

    def slider_rows(self, features: Float32Array, k: int, stops: Sequence[float]) -> list[Int64Array]:
        """For every visual weight the [n, k] index rows, with one prediction for all of them."""
        alone = replace(self.search, concept_weight=1.0)
        found = [np.full((len(features), k), -1, dtype=np.int64) for _ in stops]
        for part in chunks(len(features), max(len(self.search.features), 1)):
            concept = alone.scores(features[part])
            raw = features[part] @ self.search.features.T
            for at_stop, v in zip(found, stops, strict=True):
                best = top_k(np.float32(1 - v) * concept + np.float32(v) * raw, k)
                at_stop[part, : best.shape[1]] = best
        return found


def in_chunks(questions: int, num_indexed: int, answered: Callable[[slice], Int64Array]) -> Int64Array:
    """Rows [questions, k], answered part by part so that scores of [part, num_indexed] stay small."""
    parts = [answered(part) for part in chunks(questions, max(num_indexed, 1))]
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.int64)


def completed_rows(
    visible: TagTable,
    probabilities: Float32Array,
    raw: Float32Array,
    asked: Int64Array,
    k: int,
    visual_weight: float,
) -> Int64Array:
    """Baseline for missing tags: visible carriers first, then images that a tag predictor thinks carry it.

    visible: the indexed images' visible tags; probabilities: [num_indexed, num_tags] predicted for them;
    raw: [n, num_indexed] cosine of query and index; asked: [n] tags. Among visible carriers, and as a part
    of `visual_weight` among the others, likeness to the query image decides.
    """
    carries = visible.matrix.tocsc()[:, asked].toarray().T > 0
    scores = np.float32(1 - visual_weight) * probabilities[:, asked].T + np.float32(visual_weight) * raw
    return top_k(np.where(carries, np.float32(2) + raw, scores), k)
