"""Linear projections of image features that are fitted to a catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from graph_store.arrays import Float32Array
from graph_store.mapped_pages import streamed

_MOST_ROWS = 20_000
_BLOCK = 8192


@dataclass(frozen=True, eq=False)
class Projection:
    """x → unit((x - mean) · axes · scale), or the same of root(x) where ``roots``. mean: [dim]; axes:
    [dim, width]; scale: [width]; all float32.
    """

    mean: Float32Array
    axes: Float32Array
    scale: Float32Array
    roots: bool = False

    def __call__(self, features: Float32Array) -> Float32Array:
        """features: [n, dim] → [n, width] float32, unit norm."""
        result = np.empty((len(features), self.axes.shape[1]), np.float32)
        for start in range(0, len(features), _BLOCK):
            result[start : start + _BLOCK] = self._of(features[start : start + _BLOCK])
        return result

    def into(self, target: Float32Array, features: Float32Array) -> Float32Array:
        """The same written to `target` [n, width], which may be mapped to a file as the features may: some
        blocks of rows are in memory. For a whole catalogue, not for a question about a mapped row.
        """
        for start, stop in streamed(len(features), _BLOCK, features, target):
            target[start:stop] = self._of(features[start:stop])
        return target

    def _of(self, features: Float32Array) -> Float32Array:
        centred = (rooted(features) if self.roots else features) - self.mean
        projected = centred if self._keeps_axes else centred @ self.axes
        return self.of_projected(projected.astype(np.float32, copy=False))

    @cached_property
    def _keeps_axes(self) -> bool:
        """Whether the axes are those of the features: then six megabytes of ones and zeros need no reading
        for each question.
        """
        height, width = self.axes.shape
        return height == width and np.array_equal(self.axes, np.eye(height, dtype=np.float32))

    def of_projected(self, projected: Float32Array) -> Float32Array:
        """The same from (x - mean) · axes [n, width] of any length, where somebody has it already."""
        scaled = projected * self.scale
        norms = np.linalg.norm(scaled, axis=1, keepdims=True)
        result: Float32Array = (scaled / np.maximum(norms, 1e-12)).astype(np.float32)
        return result


def rooted(features: Float32Array) -> Float32Array:
    """sign(x)·√|x|, as :func:`gnn.model.kernels.rooted` has it."""
    result: Float32Array = np.sign(features) * np.sqrt(np.abs(features))
    return result


def even_sample(features: Float32Array) -> Float32Array:
    """At most 20,000 of the rows, evenly; a view."""
    return features[:: max(1, -(-len(features) // _MOST_ROWS))]


def raw_projection(dim: int) -> Projection:
    """The features as they are."""
    return Projection(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32), np.ones(dim, np.float32))


def principal_projection(
    features: Float32Array, width: int, power: float, *, roots: bool = False
) -> Projection:
    """The leading principal axes, scaled by 1 / (their standard deviation)^power: 0 = plain PCA, ½ = half
    whitening, 1 = whitening. roots: of the features' roots.

    features: [n, dim]. Fitted on an even sample of at most 20,000 rows. Always `width` axes: those that the
    data cannot fill are zero. One row, or rows all alike, have no axis: then the features stay as they are,
    cut or padded to `width`.
    """
    taken = even_sample(features)
    sample = np.asarray(rooted(taken) if roots else taken, dtype=np.float64)
    mean = sample.mean(axis=0)
    centred = sample - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(sample))
    values, vectors = values[::-1][:width], vectors[:, ::-1][:, :width]
    dim = features.shape[1]
    axes = np.zeros((dim, width), dtype=np.float32)
    scale = np.ones(width, dtype=np.float32)
    filled = int((values > 1e-9).sum())
    if filled == 0:
        axes[: min(dim, width), : min(dim, width)] = np.eye(min(dim, width), dtype=np.float32)
        return Projection(np.zeros(dim, np.float32), axes, scale, roots)
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    scale[:filled] = np.sqrt(values[:filled]) ** -power
    axes[:, :filled] = vectors[:, :filled] * signs[:filled]
    return Projection(mean.astype(np.float32), axes, scale, roots)
