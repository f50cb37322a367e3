"""The index that finds the `similar` neighbours of a query, which is not in the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graph_store import index_choice
from graph_store.arrays import Float32Array, Int64Array
from graph_store.bulk_neighbours import BulkNeighbours
from graph_store.exact import MARGIN
from graph_store.faiss_index import FaissIndex
from graph_store.ivfpq_index import IvfPqIndex

_EF_SEARCH = 64
"""Half of what searches for results take: the 20 nearest are found as surely (99.9 % of them among 4,833
photos, 99.97 % among 100,000 generated images; with 128 it is 99.99 % in both), in two thirds of the time.
"""


class NeighbourIndex:
    """The neighbours that :func:`graph_store.similar.similar_edges` would give; kept in a FAISS file."""

    def __init__(self, index: FaissIndex | IvfPqIndex) -> None:
        self._index = index

    @classmethod
    def build(cls, vectors: Float32Array, *, apart: bool = False) -> NeighbourIndex:
        """Index `vectors` [n, d] float32, unit norm: exact below 20,000, HNSW from there on.

        apart: the vectors stay where they are, which may be a memory map, must not change, and are given to
        `open` again. From 250,000 on the index is then compressed, if a search in it is as quick.
        """
        if apart and len(vectors) >= index_choice.COMPRESSED_FROM:
            compressed = IvfPqIndex.build(vectors)
            if compressed.is_quick:
                return cls(compressed)
        return cls(FaissIndex.build(vectors, "auto", effort=_EF_SEARCH, apart=apart))

    @classmethod
    def grown(
        cls, path: Path, vectors: Float32Array, row_of: Int64Array | None = None, *, apart: bool = False
    ) -> NeighbourIndex:
        """The same as `build`, from the file of an earlier index, whose kind is kept. row_of: [n] the row
        there of each vector, as it is, and -1 of one that it does not have; None where all that it has are
        the first of these.
        """
        if apart and IvfPqIndex.is_in(path):
            return cls(IvfPqIndex.grown(path, vectors, row_of=row_of))
        if row_of is not None:  # links cannot be taken away
            return cls.build(vectors, apart=apart)
        return cls(FaissIndex.grown(path, vectors, effort=_EF_SEARCH, apart=apart))

    @classmethod
    def open(cls, path: Path, vectors: Float32Array | None = None) -> NeighbourIndex:
        """Map the index from a file. vectors: those that it was built of, where they are apart. Raises
        CorruptFile.
        """
        if vectors is not None and IvfPqIndex.is_in(path):
            return cls(IvfPqIndex.open(path, vectors))
        return cls(FaissIndex.open(path, vectors=vectors))

    @property
    def dim(self) -> int:
        """The length of each vector."""
        return self._index.dim

    @property
    def vectors(self) -> Float32Array:
        """[size, dim] float32, unit norm: a view that must not outlive the index."""
        return self._index.vectors

    @property
    def size(self) -> int:
        """How many images it holds."""
        return self._index.size

    @property
    def compressed(self) -> IvfPqIndex | None:
        """The compressed index that it is, if it is one."""
        return self._index if isinstance(self._index, IvfPqIndex) else None

    def save(self, path: Path) -> None:
        """Write the index durably, without vectors that are apart from it. Raises Unwritable."""
        self._index.save(path)

    def search(
        self, queries: Float32Array, k: int, threshold: float, allowed: Int64Array | None = None
    ) -> tuple[Int64Array, Float32Array]:
        """The k nearest images (of the `allowed` rows) with cosine ≥ threshold: queries [n, d] unit norm →
        rows [n, k] int64, weights [n, k].

        Nearest first, ties by lower row; the rest is row -1 with weight 0.
        """
        result = self._index.search(queries, k, allowed)
        kept = (result.rows >= 0) & (result.scores >= threshold)
        weights = np.where(kept, np.clip(result.scores, -1.0, 1.0), np.float32(0))
        return np.where(kept, result.rows, -1), weights

    def near(self, queries: Float32Array, count: int, threshold: float) -> Int64Array:
        """About the rows that `search` gives, [n, count], for work on a whole catalogue: which ones may
        depend on what else is asked, where that is quicker.
        """
        if self.compressed is None:
            return self.search(queries, count, threshold)[0]
        rows, cosines = BulkNeighbours.of(self.compressed, count).near(queries, count)
        return np.where(cosines >= threshold - MARGIN, rows, -1)
