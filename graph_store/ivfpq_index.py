"""The vector index for little memory: compressed codes find the candidates, the mapped vectors rank them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from graph_store import index_choice
from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import CorruptFile
from graph_store.exact import MARGIN, best_of, pair_scores, ranked
from graph_store.faiss_api import faiss
from graph_store.faiss_files import read_index, write_index
from graph_store.index_inputs import checked_search, checked_vectors
from graph_store.index_sample import Sample, between, stored_of
from graph_store.ivfpq_codes import recoded
from graph_store.pq_layout import BITS, codes_of, lists_for, padded
from graph_store.row_selector import RowSelector
from graph_store.vector_index import SearchResult

SCAN_ALLOWED_UP_TO = 2_000
"""At most this many allowed rows are compared one by one, out of the mapped vectors."""

LEAST_RANKED, RANKED, _MOST_MORE = 400, 4, 2_000
"""At least 400 candidates are ranked by their vectors; for long lists four for each wanted row, but at most
2,000 more than are wanted.
"""

_CROWDED, _WIDER, _MOST_CROWDED = 0.5, 8, 32_768
"""Where more than half of the candidates have one code, as copies of a placeholder do, what lies behind them
is looked for eight times as far, up to so many candidates.
"""

_READ = 4
"""The lists that are read hold at least so many allowed rows for each candidate."""

_ROUNDS, _POINTS_A_LIST, _POINTS_A_CODE, _LEAST_TRAINED = 8, 32, 64, 1_024
_AT_ONCE = 65_536

_SAMPLE, _BEST, _REACHED, _RECALL = 256, 20, 0.995, 0.95
"""256 sample questions, stored vectors and points between two: as many lists are read as hold 99.5 % of their
20 best. An index that was kept must find 95 % of them.
"""

_REACHED_OF_GIVEN = 0.98
"""Of the best of questions that are given: they lie further apart (docs/decisions/0011)."""


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
    def build(cls, vectors: Float32Array, questions: Float32Array | None = None) -> IvfPqIndex:
        """Index `vectors` [n, dim] float32 of about equal norms, which must stay as they are.

        questions: [m, dim], such as will be asked. As many lists are read as hold 98 % of their best, or as
        can be read quickly; and as many as stored vectors and points between two need, in any case. Raises
        BadInput when a vector is not finite.
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
        return cls._filled(index, vectors, questions)[0]

    @classmethod
    def grown(
        cls,
        path: Path,
        vectors: Float32Array,
        questions: Float32Array | None = None,
        *,
        row_of: Int64Array | None = None,
    ) -> IvfPqIndex:
        """`build`, but what was learnt for the index in a file is kept: its centres, its codebook and the
        codes of vectors that are as they were. row_of: [n] the row there of each of these, -1 of the others;
        None where all that it holds are the first of `vectors`.

        A sample must still find 95 % of its best, else, or where the index was made for another length or
        for far fewer vectors, all is built anew. Raises CorruptFile.
        """
        vectors = checked_vectors(vectors, None)
        index = _read(path, mapped=False)
        much_larger = lists_for(len(vectors)) > 2 * index.nlist
        too_many = row_of is None and index.ntotal > len(vectors)
        if index.d != padded(vectors.shape[1]) or too_many or much_larger:
            return cls.build(vectors, questions)
        if row_of is not None:
            index = recoded(index, row_of, lambda rows: _with_zeros(vectors[rows], index.d))
        result, sample = cls._filled(index, vectors, questions)
        return result if result._finds_enough(sample) else cls.build(vectors, questions)

    @classmethod
    def _filled(
        cls, index: Any, vectors: Float32Array, questions: Float32Array | None
    ) -> tuple[IvfPqIndex, Sample]:
        """The index of all vectors, and the sample by which it was measured."""
        for start in range(int(index.ntotal), len(vectors), _AT_ONCE):
            index.add(_with_zeros(vectors[start : start + _AT_ONCE], index.d))
        result = cls(index, vectors)
        stored = stored_of(vectors, _SAMPLE // 2 if len(vectors) >= _BEST else 0)
        asked = np.concatenate([stored, between(stored), *([] if questions is None else [questions])])
        sample = Sample.of(asked, vectors, _BEST)
        plain = sample.part(0, 2 * len(stored))
        needed = result._lists_that_hold(_REACHED, plain)
        if len(asked) > len(plain.questions):
            quick = index_choice.MOST_CODES_READ * result.lists // max(1, len(vectors))
            given = sample.part(2 * len(stored), len(asked))
            needed = max(needed, min(result._lists_that_hold(_REACHED_OF_GIVEN, given), quick))
        index.nprobe = needed
        return result, plain

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
            scores, found = self._index.search(asked, count, params=parameters)
            while _crowded(scores[found >= 0]) and count < min(reachable, _MOST_CROWDED):
                count = min(_WIDER * count, reachable, _MOST_CROWDED)
                scores, found = self._index.search(asked, count, params=parameters)
            rows: Int64Array = found[0][found[0] >= 0]
            if len(rows) >= min(k, reachable):
                return rows
        return None

    def _lists_that_hold(self, share: float, sample: Sample) -> int:
        """How many lists, the nearest first, hold that share of the best of the sample's questions."""
        if not len(sample.questions):
            return 1
        _, order = self._index.quantizer.search(_with_zeros(sample.questions, self._index.d), self.lists)
        rank_of = np.argsort(order, axis=1)
        best = self._vectors[sample.rows.ravel()]
        _, home = self._index.quantizer.search(_with_zeros(best, self._index.d), 1)
        ranks = rank_of[np.arange(len(sample.rows)).repeat(_BEST), home[:, 0]]
        return min(1 + math.ceil(float(np.quantile(ranks, share))), self.lists)

    def _finds_enough(self, sample: Sample) -> bool:
        found = int((self.search(sample.questions, _BEST).scores >= sample.scores[:, -1:] - MARGIN).sum())
        return found >= _RECALL * sample.scores.size


def _crowded(scores: Float32Array) -> bool:
    """Whether most candidates [c], by falling score, have the same code."""
    most = int(len(scores) * _CROWDED)
    return bool(len(scores) > 1 and (scores[: len(scores) - most] == scores[most:]).any())


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
