"""The nearest neighbours of all images of a large catalogue at once, with a recall that is measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.exact import MARGIN, ranked
from graph_store.faiss_api import faiss
from graph_store.ivfpq_index import LEAST_RANKED, RANKED, IvfPqIndex
from graph_store.progress import Advance

TARGET_RECALL = 0.98
_SAMPLE = 1024
_CHUNK = 4096
_ROUNDS = 2
_FEWEST_LISTS = 4
_MOST_CANDIDATES = 2048


@dataclass(frozen=True)
class Effort:
    """lists: how many are read for a query; candidates: how many of what is found there are compared exactly;
    recall: of a sample.
    """

    lists: int
    candidates: int
    recall: float


class BulkNeighbours:
    """A compressed index (:class:`graph_store.ivfpq_index.IvfPqIndex`) that is asked for thousands of queries
    at a time. It is made in a sixteenth of the time that an HNSW index takes, which then answers a single
    query faster and more surely; so this one is for building a graph, and goes with it.
    """

    def __init__(self, index: IvfPqIndex, vectors: Float32Array, effort: Effort) -> None:
        self._index = index
        self._vectors = vectors
        self.effort = effort

    @classmethod
    def of(cls, index: IvfPqIndex, count: int) -> BulkNeighbours:
        """Asked for with the effort that the index makes for a single question."""
        candidates = max(LEAST_RANKED, RANKED * count)
        return cls(index, index.vectors, Effort(index.lists_read, candidates, 0.0))

    @classmethod
    def build(
        cls, vectors: Float32Array, count: int, threshold: float, index: IvfPqIndex | None = None
    ) -> BulkNeighbours:
        """Index `vectors` [n, dim] float32, unit norm, which are not copied and may be a memory map; `index`
        is one of them, where it is there already.

        The effort is the least, doubled step by step, that finds 98 % of the `count` nearest above the
        threshold of a sample of 1,024 of the vectors; or all that can be made.
        """
        vectors = np.asarray(vectors)
        index = index or IvfPqIndex.build(vectors)
        drawn = np.random.default_rng(0).choice(len(vectors), min(_SAMPLE, len(vectors)), replace=False)
        sample = np.ascontiguousarray(vectors[np.sort(drawn)])
        true, _ = faiss.knn(sample, vectors, count, metric=faiss.METRIC_INNER_PRODUCT)
        wanted = np.maximum(true[:, -1:], threshold)
        total = max(1, int((true >= wanted).sum()))

        def made(lists: int, candidates: int) -> Effort:
            tried = cls(index, vectors, Effort(lists, candidates, 0.0))
            _, scores = tried.near(sample, count)
            return Effort(lists, candidates, float((scores >= wanted - MARGIN).sum() / total))

        most = min(_MOST_CANDIDATES, len(vectors))
        effort = made(min(_FEWEST_LISTS, index.lists), min(2 * count, most))
        while effort.recall < TARGET_RECALL:
            lists, candidates = min(2 * effort.lists, index.lists), min(2 * effort.candidates, most)
            more = {(lists, effort.candidates), (effort.lists, candidates)}
            tried = [made(*each) for each in sorted(more - {(effort.lists, effort.candidates)})]
            if not tried:
                break
            effort = max(tried, key=lambda each: each.recall)
        return cls(index, vectors, effort)

    def near(self, queries: Float32Array, count: int) -> tuple[Int64Array, Float32Array]:
        """About the `count` nearest of each of many queries [n, d], nearest first: rows and cosines
        [n, count], padded with -1 and -inf.
        """
        queries = np.ascontiguousarray(queries)
        rows = self._index.candidates(queries, max(count, self.effort.candidates), self.effort.lists)
        return best_of_many(queries, self._vectors, rows, count)

    def graph(self, k: int, advance: Advance = lambda _: None) -> Int64Array:
        """About the k nearest others of each vector, [n, k], nearest first, padded with -1.

        What the lists found is mended by two rounds over the neighbours' neighbours (as in NN-descent: Dong,
        Moses and Li 2011): neighbours in a list that was not read are known to those on its border. Of what
        98 % recall leaves out, one round finds nine tenths and the second half of the rest, each in half the
        time that asking the lists takes.
        """
        num = len(self._vectors)
        found = np.full((num, k), -1, np.int64)
        for part in _chunks(num):
            rows, _ = self.near(self._vectors[part], k + 1)
            found[part] = _without_own(rows, part, k)
        advance(num // 2)
        for _ in range(_ROUNDS):
            found = self._mended(found)
        advance(num - num // 2)
        return found

    def _mended(self, found: Int64Array) -> Int64Array:
        """The best of each image's neighbours and of theirs: [n, k] → [n, k]."""
        k = found.shape[1]
        mended = np.empty_like(found)
        for part in _chunks(len(found)):
            own = found[part]
            further = np.where(own[:, :, None] >= 0, found[own], -1).reshape(len(own), -1)
            candidates = np.sort(np.concatenate([own, further], axis=1), axis=1)
            candidates[:, 1:][candidates[:, 1:] == candidates[:, :-1]] = -1  # each once
            rows, _ = best_of_many(self._vectors[part], self._vectors, candidates, k + 1)
            mended[part] = _without_own(rows, part, k)
        return mended


def best_of_many(
    queries: Float32Array, vectors: Float32Array, rows: Int64Array, count: int
) -> tuple[Int64Array, Float32Array]:
    """The best `count` of each query's own candidates: queries [n, d], vectors [m, d], rows [n, c], -1 for a
    gap → rows and cosines [n, count], falling.
    """
    queries, rows = np.ascontiguousarray(queries), np.ascontiguousarray(rows)
    scores = np.empty(rows.shape, np.float32)
    # Several times as fast as gathering the vectors: nothing is copied.
    faiss.fvec_inner_products_by_idx(
        faiss.swig_ptr(scores),
        faiss.swig_ptr(queries),
        faiss.swig_ptr(vectors),
        faiss.swig_ptr(rows),
        queries.shape[1],
        *rows.shape,
    )
    if rows.shape[1] > count:
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
    found, best = ranked(scores, rows, count)
    return best, found


def _without_own(rows: Int64Array, part: slice, k: int) -> Int64Array:
    """The first k of each line [n, k + 1] but the line's own number, or but the last."""
    own = rows == np.arange(part.start, part.stop)[:, None]
    own[~own.any(axis=1), k] = True
    kept: Int64Array = rows[~own].reshape(len(rows), k)
    return kept


def _chunks(num: int) -> Iterator[slice]:
    for start in range(0, num, _CHUNK):
        yield slice(start, min(start + _CHUNK, num))
