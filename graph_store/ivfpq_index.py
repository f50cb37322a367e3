"""The vector index for little memory: compressed codes find the candidates, the mapped vectors rank them."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from graph_store import index_choice
from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import CorruptFile
from graph_store.exact import MARGIN, best_of, best_of_each, pair_scores, ranked
from graph_store.faiss_api import faiss
from graph_store.faiss_files import read_index, write_index
from graph_store.index_inputs import checked_search, checked_vectors
from graph_store.pq_layout import BITS, codes_of, lists_for, padded
from graph_store.row_selector import RowSelector
from graph_store.vector_index import SearchResult

SCAN_ALLOWED_UP_TO = 2_000
"""At most this many allowed rows are compared one by one, out of the mapped vectors."""

LEAST_RANKED, RANKED, _MOST_MORE = 400, 4, 2_000
"""At least 400 candidates are ranked by their vectors; for long lists four for each wanted row, but at most
2,000 more than are wanted.
"""

_LEAST_LISTS = 20
"""At least so many lists are read: questions of the middle of the slider weigh parts of a vector otherwise
than the sample does, and their best lie further apart (docs/decisions/0011).
"""

_READ = 4
"""The lists that are read hold at least so many allowed rows for each candidate."""

_ROUNDS, _POINTS_A_LIST, _POINTS_A_CODE, _LEAST_TRAINED = 8, 32, 64, 1_024
_AT_ONCE = 65_536

_SAMPLE, _BEST, _REACHED, _RECALL = 256, 20, 0.995, 0.95
"""256 sample questions: as many lists are read as hold 99.5 % of their 20 best. An index that was kept must
find 95 % of them.
"""


class IvfPqIndex:
    """A :class:`graph_store.vector_index.VectorIndex`: FAISS's inverted lists of product-quantised residuals
    (Jégou, Douze and Schmid 2011), read by its fast scan (André, Kermarrec and Le Scouarnec 2015).

    The candidates are ranked by their exact inner products with `vectors`, which are not copied and may be a
    memory map: scores are those of any other index. How many lists are read is measured when it is built.
    The same vectors make the same index. Safe to search from many threads at once.
    """

    def __init__(self, index: Any, vectors: Float32Array) -> None:
        self._index = index
        self._vectors = np.asarray(vectors)
        self._selector = RowSelector(len(vectors))

    @classmethod
    def build(cls, vectors: Float32Array) -> IvfPqIndex:
        """Index `vectors` [n, dim] float32 of about equal norms, which must stay as they are.

        Raises BadInput when a vector is not finite.
        """
        vectors = checked_vectors(vectors, None)
        num, dim = vectors.shape
        length, lists = padded(dim), lists_for(num)
        index = faiss.IndexIVFPQFastScan(
            faiss.IndexFlatIP(length), length, lists, codes_of(dim), BITS, faiss.METRIC_INNER_PRODUCT
        )
        index.by_residual = True
        for clustering, points in ((index.cp, _POINTS_A_LIST), (index.pq.cp, _POINTS_A_CODE)):
            clustering.niter = _ROUNDS
            clustering.min_points_per_centroid = 1
            clustering.max_points_per_centroid = points
        index.train(_training_set(vectors, max(_POINTS_A_LIST * lists, _LEAST_TRAINED)))
        return cls._filled(index, vectors)

    @classmethod
    def grown(cls, path: Path, vectors: Float32Array, *, moved: bool = True) -> IvfPqIndex:
        """`build`, but what was learnt for the index in a file is kept: its centres and its codebook, and
        where none of its rows, the first of `vectors`, has `moved`, their codes too.

        A sample must still find 95 % of its best, else, or where the index was made for another length or
        for far fewer vectors, all is built anew. Raises CorruptFile.
        """
        vectors = checked_vectors(vectors, None)
        index = _read(path, mapped=False)
        much_larger = lists_for(len(vectors)) > 2 * index.nlist
        if index.d != padded(vectors.shape[1]) or index.ntotal > len(vectors) or much_larger:
            return cls.build(vectors)
        if moved:
            # All of them: once FAISS 1.15 has removed rows from lists that are scanned fast, it finds fewer
            # of those that stayed (a fifth removed and coded again: 0.990 in place of 0.999).
            index.reset()
        result = cls._filled(index, vectors)
        return result if result._finds_enough() else cls.build(vectors)

    @classmethod
    def _filled(cls, index: Any, vectors: Float32Array) -> IvfPqIndex:
        for start in range(int(index.ntotal), len(vectors), _AT_ONCE):
            index.add(_with_zeros(vectors[start : start + _AT_ONCE], index.d))
        result = cls(index, vectors)
        index.nprobe = result._lists_needed()
        return result

    @classmethod
    def open(cls, path: Path, vectors: Float32Array) -> IvfPqIndex:
        """The index in a file, over the vectors that it was built of. Raises CorruptFile when it is cut
        short, another kind of index or one of other vectors.

        Take the file from a snapshot: that checks it, FAISS does not.
        """
        index = _read(path)
        if index.ntotal != len(vectors) or index.d != padded(vectors.shape[1]):
            raise CorruptFile(
                f"The index {path} holds {index.ntotal} vectors of {index.d} numbers, not {len(vectors)} of"
                f" {vectors.shape[1]}",
                path=path,
            )
        return cls(index, vectors)

    @staticmethod
    def is_in(path: Path) -> bool:
        """Whether the file holds such an index, and not another one of FAISS's. Raises CorruptFile."""
        return isinstance(read_index(path), faiss.IndexIVFPQFastScan)

    @property
    def kind(self) -> str:
        """`ivfpq`."""
        return "ivfpq"

    @property
    def dim(self) -> int:
        """The length of each vector."""
        return int(self._vectors.shape[1])

    @property
    def size(self) -> int:
        """How many vectors it holds."""
        return len(self._vectors)

    @property
    def is_local(self) -> bool:
        """It searches in this process."""
        return True

    def search(self, queries: Float32Array, k: int, allowed: Int64Array | None = None) -> SearchResult:
        """The best k rows for each of `queries` [n, dim], of those in `allowed` [m] where it is given.

        As many rows come back as there are, up to k, however few are allowed. Raises BadInput for a wrong
        dimension or a query that is not finite, and ValueError for an allowed row that the index does not
        have.
        """
        queries, allowed = checked_search(queries, k, allowed, self.dim, self.size)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            # One by one: FAISS rounds in another way where several are asked together.
            near = self._near(query, k, allowed)
            if near is None:
                scores[i], rows[i] = best_of(query, self._vectors, k, allowed)
            else:
                found, best = ranked(pair_scores(query[None], self._vectors, near[None]), near[None], k)
                scores[i], rows[i] = found[0], best[0]
        return SearchResult(scores, rows)

    def nearest(
        self, query: Float32Array, k: int, allowed: Int64Array | None = None, *, near: int | None = None
    ) -> Int64Array:
        """[at least min(k, rows there are)] rows near one query [dim], in no order: those that `search` would
        rank, so that a caller who scores them itself reads each vector once. near changes nothing here.
        Raises what `search` raises.
        """
        del near
        queries, allowed = checked_search(query[None, :], k, allowed, self.dim, self.size)
        rows = self._near(queries[0], k, allowed)
        if rows is None:
            _, rows = best_of(queries[0], self._vectors, k, allowed)
            rows = rows[rows >= 0]
        return rows

    @property
    def vectors(self) -> Float32Array:
        """[size, dim] float32: those that candidates are ranked by."""
        return self._vectors

    @property
    def lists(self) -> int:
        """How many inverted lists there are."""
        return int(self._index.nlist)

    @property
    def lists_read(self) -> int:
        """How many of them a search reads at least."""
        return int(self._index.nprobe)

    @property
    def is_quick(self) -> bool:
        """Whether a search reads so few codes that HNSW would not be quicker."""
        return self.lists_read * self.size <= index_choice.MOST_CODES_READ * self.lists

    def candidates(self, queries: Float32Array, count: int, lists: int) -> Int64Array:
        """[n, count] rows near each of many queries [n, dim] by their codes, out of so many lists, in no
        order; -1 where there are fewer. Which ones may depend on what else is asked: for work on a whole
        catalogue, not for answers.
        """
        parameters = faiss.SearchParametersIVF(nprobe=lists)
        _, rows = self._index.search(_with_zeros(queries, self._index.d), count, params=parameters)
        found: Int64Array = rows
        return found

    def save(self, path: Path) -> None:
        """Write the codes durably. The vectors stay where they are. Raises Unwritable."""
        write_index(self._index, path)

    def _near(self, query: Float32Array, k: int, allowed: Int64Array | None) -> Int64Array | None:
        """[≥ min(k, rows there are)] candidates for one query; None where comparing all is as cheap."""
        reachable = self.size if allowed is None else len(allowed)
        count = min(max(LEAST_RANKED, RANKED * k), k + _MOST_MORE)
        if count >= reachable or (allowed is not None and reachable <= SCAN_ALLOWED_UP_TO):
            return None
        selector = None if allowed is None else self._selector.of(allowed)
        lists, share = int(self._index.nlist), reachable / self.size
        # The rarer the allowed rows, the more lists; those of a long answer lie in many.
        read = math.ceil(max(self._index.nprobe / share, _READ * count * lists / reachable))
        asked = _with_zeros(query[None, :], self._index.d)
        for probed in (min(read, lists), lists):
            parameters = faiss.SearchParametersIVF(nprobe=probed, sel=selector)
            _, found = self._index.search(asked, count, params=parameters)
            rows: Int64Array = found[0][found[0] >= 0]
            if len(rows) >= min(k, reachable):
                return rows
        return None

    @cached_property
    def _questions(self) -> tuple[Float32Array, Float32Array, Int64Array]:
        """Queries [m, dim] like those of a user, stored vectors and what lies in the middle between two of
        them, with the scores and rows [m, 20] of their best; none where there are too few vectors.
        """
        few = self.size < _BEST
        places = np.linspace(0, self.size - 1, 0 if few else min(_SAMPLE // 2, self.size)).astype(np.int64)
        stored = self._vectors[places]
        queries = np.concatenate([stored, (stored + stored[::-1]) / 2])
        return queries, *best_of_each(queries, self._vectors, _BEST)

    def _lists_needed(self) -> int:
        """How many lists, the nearest first, hold 99.5 % of the best of the sample's questions."""
        queries, _, rows = self._questions
        if not len(queries):
            return 1
        _, order = self._index.quantizer.search(_with_zeros(queries, self._index.d), self.lists)
        rank_of = np.argsort(order, axis=1)
        _, home = self._index.quantizer.search(_with_zeros(self._vectors[rows.ravel()], self._index.d), 1)
        ranks = rank_of[np.arange(len(rows)).repeat(_BEST), home[:, 0]]
        needed = 1 + math.ceil(float(np.quantile(ranks, _REACHED)))
        return min(max(needed, _LEAST_LISTS), self.lists)

    def _finds_enough(self) -> bool:
        queries, scores, _ = self._questions
        found = int((self.search(queries, _BEST).scores >= scores[:, -1:] - MARGIN).sum())
        return found >= _RECALL * scores.size


def _read(path: Path, *, mapped: bool = True) -> Any:
    index = read_index(path, mapped=mapped)
    if (
        not isinstance(index, faiss.IndexIVFPQFastScan)
        or index.metric_type != faiss.METRIC_INNER_PRODUCT
        or not index.is_trained
    ):
        raise CorruptFile(f"The index {path} is not an ivfpq index", path=path)
    return index


def _training_set(vectors: Float32Array, most: int) -> Float32Array:
    """Vectors for the centres and the codebook to learn from: an even sample of at most `most`, or the same
    again and again until they are enough. Of none, drawn ones.
    """
    num, dim = vectors.shape
    if num == 0:
        drawn = np.random.default_rng(0).standard_normal((_LEAST_TRAINED, dim), dtype=np.float32)
        return _with_zeros(drawn, padded(dim))
    if num < _LEAST_TRAINED:
        rows = np.arange(_LEAST_TRAINED) % num
    else:
        rows = np.linspace(0, num - 1, min(most, num)).astype(np.int64)
    return _with_zeros(vectors[rows], padded(dim))


def _with_zeros(vectors: Float32Array, dim: int) -> Float32Array:
    """[n, d] → [n, dim], contiguous."""
    if vectors.shape[1] == dim:
        return np.ascontiguousarray(vectors)
    return np.pad(vectors, ((0, 0), (0, dim - vectors.shape[1])))
