"""What a user builds without a graph: the simple rankings that a graph model has to beat.

All of them work on the encoder's frozen features. A *tag predictor* turns features into a score for every
tag; two images are then compared in *tag space*: the cosine of the query's predicted tags with the indexed
image's known tags. Fusion adds the raw cosine: w * conceptual + (1 - w) * visual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gnn.evaluation.metrics import FloatArray, top_k
from gnn.evaluation.relevance import TagTable, chunks
from graph_store.arrays import BoolArray, Float32Array, Int64Array


def unit_rows(x: FloatArray) -> Float32Array:
    """The rows scaled to length 1 (a zero row stays zero). x: [n, dim]."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.maximum(norm, 1e-12), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Whitening:
    """Projection to the leading principal axes, each divided by its standard deviation to the power `power`.

    power 0 is plain PCA, 1 full whitening, 0.5 half way. The answer has unit rows.
    """

    mean: Float32Array
    axes: Float32Array

    @classmethod
    def fit(cls, features: Float32Array, dim: int = 256, power: float = 0.5) -> Whitening:
        """features: [n, feature_dim], unit rows. `dim` is cut to what n and feature_dim allow."""
        mean = features.mean(axis=0)
        centred = (features - mean).astype(np.float64)
        values, vectors = np.linalg.eigh(centred.T @ centred / max(len(features), 1))
        order = np.argsort(-values)[: max(1, min(dim, len(features) - 1, features.shape[1]))]
        scale = np.maximum(values[order], values.max() * 1e-8 + 1e-20) ** (-power / 2)
        return cls(mean, np.asarray(vectors[:, order] * scale, dtype=np.float32))

    def __call__(self, features: Float32Array) -> Float32Array:
        """[n, feature_dim] -> [n, dim] unit rows."""
        return unit_rows((features - self.mean) @ self.axes)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest indexed images of each query. rows: [n, k] int64; similarity: [n, k] float32, falling."""

    rows: Int64Array
    similarity: Float32Array

    @classmethod
    def find(
        cls, queries: Float32Array, index: Float32Array, k: int, own: Int64Array | None = None
    ) -> Neighbours:
        """Exact search by inner product. own: [n] each query's own row, left out of its answer."""
        k = min(k, len(index) - (own is not None))
        rows = np.zeros((len(queries), max(k, 0)), dtype=np.int64)
        similarity = np.zeros(rows.shape, dtype=np.float32)
        if k > 0:
            for part in chunks(len(queries), len(index)):
                scores = queries[part] @ index.T
                if own is not None:
                    scores[np.arange(len(scores)), own[part]] = -np.inf
                rows[part] = top_k(scores, k)
                similarity[part] = np.take_along_axis(scores, rows[part], axis=1)
        return cls(rows, similarity)

    def vote(self, tags: TagTable, k: int, sharpness: float) -> Float32Array:
        """Tags of the k nearest, weighted by softmax(similarity * sharpness). -> [n, num_tags], in [0, 1]."""
        similarity = self.similarity[:, :k]
        if similarity.shape[1] == 0:
            return np.zeros((len(similarity), tags.num_tags), dtype=np.float32)
        weights = np.exp(sharpness * (similarity - similarity.max(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
        indptr = np.arange(len(similarity) + 1, dtype=np.int64) * similarity.shape[1]
        mixing = tags.matrix.__class__(
            (weights.ravel(), self.rows[:, :k].ravel(), indptr), shape=(len(similarity), tags.num_images)
        )
        return np.asarray((mixing @ tags.matrix).toarray(), dtype=np.float32)


class TagPredictor(Protocol):
    """Anything that scores every tag for a picture from its features."""

    def predict(self, features: Float32Array) -> Float32Array:
        """[n, feature_dim] unit rows -> [n, num_tags]."""

    def predict_indexed(self, features: Float32Array) -> Float32Array:
        """The same for the very images that it was fitted on, without letting an image speak for itself."""


@dataclass(frozen=True, eq=False)
class VotePredictor:
    """The tag vote of the nearest indexed images, on raw or whitened features."""

    index: Float32Array
    tags: TagTable
    k: int
    sharpness: float
    whitening: Whitening | None = None

    def predict(self, features: Float32Array) -> Float32Array:
        """[n, feature_dim] unit rows -> [n, num_tags] shares in [0, 1]."""
        queries = features if self.whitening is None else self.whitening(features)
        return Neighbours.find(queries, self.index, self.k).vote(self.tags, self.k, self.sharpness)

    def predict_indexed(self, features: Float32Array) -> Float32Array:
        """The vote for each indexed image of all others. features: as given when fitted (not read again)."""
        own = np.arange(len(features), dtype=np.int64)
        return Neighbours.find(self.index, self.index, self.k, own).vote(self.tags, self.k, self.sharpness)


@dataclass(frozen=True, eq=False)
class RidgePredictor:
    """Linear regression from standardised features to tags with an L2 penalty."""

    mean: Float32Array
    scale: Float32Array
    weights: Float32Array
    bias: Float32Array

    @classmethod
    def fit(cls, features: Float32Array, tags: TagTable, penalty: float) -> RidgePredictor:
        """penalty: relative to the mean variance, so that it means the same for every number of images."""
        return cls.path(features, tags, (penalty,))[0]

    @classmethod
    def path(
        cls, features: Float32Array, tags: TagTable, penalties: tuple[float, ...]
    ) -> list[RidgePredictor]:
        """One predictor for each penalty, out of a single eigendecomposition."""
        mean, scale = standardiser(features)
        x = ((features - mean) / scale).astype(np.float64)
        bias = np.asarray(tags.matrix.mean(axis=0), dtype=np.float64).ravel()
        # (Y - bias)' X = Y' X because X is centred, and Y stays sparse.
        target = np.asarray(tags.matrix.T @ x).T
        values, vectors = np.linalg.eigh(x.T @ x)
        rotated = vectors.T @ target
        unit = len(features)
        return [
            cls(
                mean,
                scale,
                np.asarray(vectors @ (rotated / (values + p * unit)[:, None]), dtype=np.float32),
                bias.astype(np.float32),
            )
            for p in penalties
        ]

    def predict(self, features: Float32Array) -> Float32Array:
        """[n, feature_dim] unit rows -> [n, num_tags], not clipped."""
        return np.asarray(((features - self.mean) / self.scale) @ self.weights + self.bias, dtype=np.float32)

    def predict_indexed(self, features: Float32Array) -> Float32Array:
        """As `predict`: the penalty keeps an image from being learned by heart."""
        return self.predict(features)


def standardiser(features: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Mean and standard deviation of every column; a constant column gets a scale of 1 and so stays 0."""
    mean = features.mean(axis=0)
    scale = features.std(axis=0)
    scale[scale < 1e-8 + 1e-6 * float(scale.max(initial=0.0))] = 1.0
    return mean, scale


@dataclass(frozen=True, eq=False)
class TagSpace:
    """The indexed images' known tags as unit vectors, with tags weighted by idf to the power `idf_power`.

    idf = log((num_images + 1) / (count + 0.5)), so that it is positive for every count.
    """

    idf: Float32Array
    index: Any

    @classmethod
    def build(cls, tags: TagTable, idf_power: float) -> TagSpace:
        """tags: of the indexed images."""
        idf = np.log((tags.num_images + 1) / (tags.counts() + 0.5)) ** idf_power
        weighted = tags.matrix.multiply(idf[None, :]).tocsr().astype(np.float32)
        norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1), dtype=np.float64)).ravel()
        scaled = weighted.multiply(1.0 / np.maximum(norm, 1e-12)[:, None]).tocsr()
        return cls(idf.astype(np.float32), scaled.astype(np.float32))

    def cosine(self, predicted: Float32Array) -> Float32Array:
        """[n, num_tags] scores -> [n, num_indexed] cosine with the indexed images' tags."""
        queries = unit_rows(predicted * self.idf)
        return np.ascontiguousarray((self.index @ queries.T).T, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class SearchBaseline:
    """A simple search: concept_weight * tag-space cosine + (1 - concept_weight) * raw cosine.

    features: [num_indexed, feature_dim] raw, unit rows. Without a predictor only the raw cosine speaks.
    """

    features: Float32Array
    predictor: TagPredictor | None = None
    space: TagSpace | None = None
    concept_weight: float = 1.0

    def scores(self, queries: Float32Array, known: BoolArray | None = None) -> Float32Array:
        """[n, feature_dim] unit rows -> [n, num_indexed]. known: [n, num_tags] the query's own tags.

        Known tags, where given, take the place of predicted ones: they are what the prediction guesses at.
        """
        w = self.concept_weight if self.predictor is not None else 0.0
        total = np.zeros((len(queries), len(self.features)), dtype=np.float32)
        if w < 1:
            total += np.float32(1 - w) * (queries @ self.features.T)
        if w > 0 and self.predictor is not None and self.space is not None:
            predicted = self.predictor.predict(queries) if known is None else known.astype(np.float32)
            total += np.float32(w) * self.space.cosine(predicted)
        return total


def hard_filter_scores(raw: Float32Array, carries: BoolArray) -> Float32Array:
    """Raw cosine among the indexed images that carry the asked tag; -inf (not returned) for all others.

    raw: [n, num_indexed] cosine; carries: [n, num_indexed] whether the indexed image visibly carries what
    is asked.
    """
    return np.where(carries, raw, np.float32(-np.inf)).astype(np.float32)
