"""Graded relevance between images: the Jaccard overlap of their tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from graph_store.arrays import BoolArray, Float32Array, Int64Array
from graph_store.csr import Csr


@dataclass(frozen=True, eq=False)
class TagTable:
    """Which image carries which tag, as a sparse 0/1 matrix [num_images, num_tags].

    Only edges of positive weight count: a tag of weight 0 or less says nothing about what an image shows.
    """

    matrix: Any

    @classmethod
    def from_csr(cls, tags: Csr, num_tags: int) -> TagTable:
        """From the graph's `has` relation; parallel edges count once."""
        kept = tags.weights > 0
        return cls.from_pairs(tags.edge_rows()[kept], tags.indices[kept], tags.num_rows, num_tags)

    @classmethod
    def from_pairs(cls, images: Int64Array, tags: Int64Array, num_images: int, num_tags: int) -> TagTable:
        """From parallel arrays of image rows and tag columns."""
        matrix = sparse.csr_matrix(
            (np.ones(len(images), dtype=np.float32), (images, tags)), shape=(num_images, num_tags)
        )
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        matrix.sort_indices()
        return cls(matrix)

    @classmethod
    def from_dense(cls, truth: BoolArray) -> TagTable:
        """From a boolean matrix [num_images, num_tags]."""
        images, tags = np.nonzero(truth)
        return cls.from_pairs(images, tags, *truth.shape)

    @property
    def num_images(self) -> int:
        """How many images there are, tagged or not."""
        return int(self.matrix.shape[0])

    @property
    def num_tags(self) -> int:
        """How many tags there are, used or not."""
        return int(self.matrix.shape[1])

    def rows(self, chosen: Int64Array | slice) -> TagTable:
        """The table of the chosen images, in their order."""
        return TagTable(self.matrix[chosen])

    def tags_of(self, image: int) -> Int64Array:
        """The tag columns of one image, in rising order."""
        start, end = self.matrix.indptr[image], self.matrix.indptr[image + 1]
        return np.asarray(self.matrix.indices[start:end], dtype=np.int64)

    def dense(self) -> BoolArray:
        """[num_images, num_tags] bool."""
        return np.asarray(self.matrix.toarray() > 0)

    def sizes(self) -> Int64Array:
        """[num_images] how many tags each image carries."""
        return np.asarray(np.diff(self.matrix.indptr), dtype=np.int64)

    def counts(self) -> Int64Array:
        """[num_tags] how many images carry each tag."""
        return np.bincount(self.matrix.indices, minlength=self.num_tags).astype(np.int64)

    def csr(self) -> Csr:
        """The same edges as the graph's relation, all of weight 1."""
        return Csr(
            self.matrix.indptr.astype(np.int64),
            self.matrix.indices.astype(np.int64),
            np.ones(self.matrix.nnz, dtype=np.float32),
        )


def jaccard_gains(queries: TagTable, index: TagTable) -> Float32Array:
    """[num_queries, num_indexed] shared tags over all tags of both; 0 where neither has one."""
    shared = np.asarray((queries.matrix @ index.matrix.T).toarray(), dtype=np.float32)
    union = queries.sizes()[:, None] + index.sizes()[None, :] - shared
    return np.asarray(shared / np.maximum(union, 1), dtype=np.float32)


def chunks(count: int, columns: int, budget: int = 16_000_000) -> Iterator[slice]:
    """Cut `count` rows so that each piece of [rows, columns] has at most about `budget` numbers (64 MB)."""
    step = max(1, budget // max(columns, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
