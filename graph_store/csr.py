"""Weighted edges in compressed sparse rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from graph_store.arrays import Float32Array, Int64Array


@dataclass(frozen=True, eq=False)
class Csr:
    """Edges of one relation, row by row. The row is the node that receives, the index the node that sends.

    indptr: [num_rows + 1] int64, starts at 0, never falls; indices: [num_edges] int64, not negative;
    weights: [num_edges] float32, finite. Row i owns the slice indptr[i]:indptr[i + 1]. The arrays may be
    memory maps. The order inside a row is the maker's (nearest first, for instance) and parallel edges are
    kept. Raises ValueError when the arrays do not fit together.
    """

    indptr: Int64Array
    indices: Int64Array
    weights: Float32Array

    def __post_init__(self) -> None:
        for name, array, dtype in (
            ("indptr", self.indptr, np.int64),
            ("indices", self.indices, np.int64),
            ("weights", self.weights, np.float32),
        ):
            if array.ndim != 1 or array.dtype != dtype:
                raise ValueError(
                    f"{name} must be a flat {np.dtype(dtype).name} array, not {array.dtype} {array.shape}"
                )
        if self.indptr.size == 0 or self.indptr[0] != 0 or bool(np.any(self.indptr[1:] < self.indptr[:-1])):
            raise ValueError("indptr must start at 0 and never fall")
        if not self.indptr[-1] == self.indices.size == self.weights.size:
            raise ValueError(
                f"indptr ends at {self.indptr[-1]}, but there are {self.indices.size} indices "
                f"and {self.weights.size} weights"
            )
        if self.indices.size and self.indices.min() < 0:
            raise ValueError("indices must not be negative")
        if not bool(np.isfinite(self.weights).all()):
            raise ValueError("weights must be finite")

    @classmethod
    def from_edges(cls, rows: ArrayLike, cols: ArrayLike, weights: ArrayLike, num_rows: int) -> Csr:
        """Build from parallel arrays [num_edges]; edges keep the given order inside their row."""
        receivers = np.asarray(rows, dtype=np.int64)
        if not receivers.shape == np.shape(cols) == np.shape(weights):
            raise ValueError("rows, cols and weights must have one entry for each edge")
        if receivers.size and (receivers.min() < 0 or receivers.max() >= num_rows):
            raise ValueError(f"rows must lie in [0, {num_rows})")
        order = np.argsort(receivers, kind="stable")
        indptr = np.zeros(num_rows + 1, dtype=np.int64)
        np.cumsum(np.bincount(receivers, minlength=num_rows), out=indptr[1:])
        return cls(
            indptr,
            np.asarray(cols, dtype=np.int64)[order],
            np.asarray(weights, dtype=np.float32)[order],
        )

    @classmethod
    def from_rows(cls, degrees: ArrayLike, cols: ArrayLike, weights: ArrayLike) -> Csr:
        """Build from edges [num_edges] that lie row by row already; degrees: [num_rows], edges of each."""
        lengths = np.asarray(degrees, dtype=np.int64)
        indptr = np.zeros(lengths.size + 1, dtype=np.int64)
        np.cumsum(lengths, out=indptr[1:])
        return cls(indptr, np.asarray(cols, dtype=np.int64), np.asarray(weights, dtype=np.float32))

    @classmethod
    def empty(cls, num_rows: int) -> Csr:
        """No edges at all."""
        return cls(np.zeros(num_rows + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))

    @property
    def num_rows(self) -> int:
        """How many nodes may receive."""
        return int(self.indptr.size - 1)

    @property
    def num_edges(self) -> int:
        """How many edges there are in all rows together."""
        return int(self.indices.size)

    def row(self, i: int) -> tuple[Int64Array, Float32Array]:
        """The senders and weights of row i, as views."""
        if not 0 <= i < self.num_rows:
            raise IndexError(f"row {i} is outside [0, {self.num_rows})")
        span = slice(int(self.indptr[i]), int(self.indptr[i + 1]))
        return self.indices[span], self.weights[span]

    def take(self, rows: Int64Array) -> Csr:
        """These rows only, in this order."""
        degrees = self.indptr[rows + 1] - self.indptr[rows]
        starts = np.cumsum(degrees) - degrees
        places = np.repeat(self.indptr[rows] - starts, degrees) + np.arange(int(degrees.sum()))
        return Csr.from_rows(degrees, self.indices[places], self.weights[places])

    def degrees(self) -> Int64Array:
        """[num_rows] int64: how many edges each row has."""
        return np.diff(self.indptr)

    def edge_rows(self) -> Int64Array:
        """[num_edges] int64: the row of each edge, in the order of `indices`."""
        return np.repeat(np.arange(self.num_rows, dtype=np.int64), self.degrees())

    def transpose(self, num_cols: int) -> Csr:
        """The same edges seen from the sender: num_cols rows, each ordered by this relation's row."""
        return Csr.from_edges(self.indices, self.edge_rows(), self.weights, num_cols)

    def truncate(self, max_degree: int) -> Csr:
        """Keep the `max_degree` heaviest edges of each row, heaviest first, equal weights by lower index."""
        rows = self.edge_rows()
        order = np.lexsort((self.indices, -self.weights.astype(np.float64), rows))
        rank = np.arange(self.num_edges) - self.indptr[rows]
        kept = order[rank < max_degree]
        return Csr.from_edges(rows[kept], self.indices[kept], self.weights[kept], self.num_rows)

    def equals(self, other: Csr) -> bool:
        """Whether both hold the same edges with the same weights in the same order."""
        return (
            np.array_equal(self.indptr, other.indptr)
            and np.array_equal(self.indices, other.indices)
            and np.array_equal(self.weights, other.weights)
        )
