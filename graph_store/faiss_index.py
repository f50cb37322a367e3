"""The vector index inside the process: FAISS, exact for small catalogues and HNSW for large ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from graph_store import index_choice
from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import CorruptFile
from graph_store.exact import MARGIN, SLACK, best_of, cut_through_a_tie, fitted, pair_scores, ranked
from graph_store.faiss_api import faiss
from graph_store.faiss_files import read_index, write_index
from graph_store.index_inputs import checked_search, checked_vectors
from graph_store.row_selector import RowSelector
from graph_store.vector_index import SearchResult

Kind = Literal["flat", "hnsw"]

SCAN_ALLOWED_UP_TO = 20_000
"""At most this many allowed rows are scanned one by one; a graph walk would meet too few of them."""

_MOST_SHARE_COPIED = 0.5

_FEW_MORE = 4
"""How many rows beyond k are given to a caller that scores them itself, so that noise at the end is no
matter.
"""

_SAMPLE, _BEST, _RECALL = 256, 10, 0.95
"""How it is measured whether an index that was grown is as good as one that is built."""

_LINKS, _EF_CONSTRUCTION, _EF_SEARCH = 32, 120, 128


class FaissIndex:
    """Nearest rows by inner product; search is safe from many threads at once.

    `flat` is exact, ties included. `hnsw` (M = 32, efConstruction = 120, efSearch = 128 or as it was built)
    finds more than 95 % of the true best where questions are like the vectors (docs/performance.md, "Which
    index", has others); its links depend on the order in which threads add vectors, unless
    FAISS runs on one. Either way the scores that come back are computed again pair by pair: one pair always
    has one score, and equal scores are in order of row.
    """

    def __init__(self, index: Any, kind: Kind) -> None:
        self._index = index
        self._kind: Kind = kind
        self._selector = RowSelector(int(index.ntotal))
        storage = index if kind == "flat" else faiss.downcast_index(index.storage)
        self._vectors: Float32Array = (
            faiss.rev_swig_ptr(storage.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
            if index.ntotal
            else np.zeros((0, index.d), np.float32)
        )

    @classmethod
    def build(
        cls,
        vectors: Float32Array,
        kind: Literal["auto", "flat", "hnsw"] = "auto",
        *,
        effort: int = _EF_SEARCH,
    ) -> FaissIndex:
        """Index `vectors` [n, dim] float32 of norm about 1, which are copied. effort: efSearch of an `hnsw`.
        Raises BadInput when a vector is not finite.
        """
        vectors = checked_vectors(vectors, None)
        chosen: Kind = (
            ("flat" if len(vectors) < index_choice.FLAT_BELOW else "hnsw") if kind == "auto" else kind
        )
        if chosen == "flat":
            index = faiss.IndexFlatIP(vectors.shape[1])
        else:
            index = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = _EF_CONSTRUCTION
            index.hnsw.efSearch = effort
        index.add(vectors)
        return cls(index, chosen)

    @classmethod
    def grown(
        cls, path: Path, vectors: Float32Array, kind: Literal["auto", "flat", "hnsw"] = "auto"
    ) -> FaissIndex:
        """`build`, but the links of an HNSW index in a file are kept: its rows are the first of `vectors`,
        which may have moved a little since, and the others are added.

        A sample of 256 vectors must still find 95 % of their ten best, else, or where the file holds another
        kind of index or one of that kind is not wanted, all is built anew.
        """
        vectors = checked_vectors(vectors, None)
        old = cls.open(path)
        linked = old.kind == "hnsw" and kind != "flat"
        if not linked or old.dim != vectors.shape[1] or old.size > len(vectors):
            return cls.build(vectors, kind)
        index = faiss.read_index(str(path))  # in memory, where it may be written to
        storage = faiss.downcast_index(index.storage)
        stored = faiss.rev_swig_ptr(storage.get_xb(), index.ntotal * index.d)
        stored.reshape(index.ntotal, index.d)[:] = vectors[: index.ntotal]
        index.add(vectors[index.ntotal :])
        result = cls(index, "hnsw")
        return result if result._finds_enough() else cls.build(vectors, kind)

    def _finds_enough(self) -> bool:
        sample = self._vectors[np.linspace(0, self.size - 1, _SAMPLE).astype(np.int64)]
        true, _ = faiss.knn(sample, self._vectors, _BEST, metric=faiss.METRIC_INNER_PRODUCT)
        found = self.search(sample, _BEST).scores
        return bool((found >= true[:, -1:] - MARGIN).sum() >= _RECALL * true.size)

    @classmethod
    def open(cls, path: Path, kind: Kind | None = None) -> FaissIndex:
        """Map an index from a file. Raises CorruptFile when it is cut short or not of that kind.

        FAISS loads most altered files without a word: take the file from a snapshot, which checks it.
        """
        index = read_index(path)
        found: Kind | None = None
        if isinstance(index, faiss.IndexFlat):
            found = "flat"
        elif isinstance(index, faiss.IndexHNSWFlat):
            found = "hnsw"
        if found is None or index.metric_type != faiss.METRIC_INNER_PRODUCT or kind not in (None, found):
            raise CorruptFile(f"The index {path} is not a {kind or 'flat or hnsw'} index", path=path)
        return cls(index, found)

    @property
    def kind(self) -> str:
        """`flat` or `hnsw`."""
        return self._kind

    @property
    def dim(self) -> int:
        """The length of each vector."""
        return int(self._index.d)

    @property
    def size(self) -> int:
        """How many vectors it holds."""
        return int(self._index.ntotal)

    @property
    def vectors(self) -> Float32Array:
        """[size, dim] float32: the indexed vectors, a view that must not be written to or outlive the
        index.
        """
        return self._vectors

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
        reachable = self.size if allowed is None else len(allowed)
        if reachable == 0 or len(queries) == 0 or self._better_scanned(allowed):
            return self._scan(queries, k, allowed)
        scores, rows = self._candidates(queries, min(k + SLACK, reachable), allowed)
        if self._kind == "flat":
            again = cut_through_a_tie(scores, k, scores.shape[1] - 1) & (scores.shape[1] < reachable)
        else:
            again = (rows >= 0).sum(axis=1) < min(k, reachable)
        scores, rows = fitted(scores, rows, k)
        for i in np.flatnonzero(again):
            scores[i], rows[i] = best_of(queries[i], self._vectors, k, allowed)
        return SearchResult(scores, rows)

    def nearest(self, query: Float32Array, k: int, allowed: Int64Array | None = None) -> Int64Array:
        """[at least min(k, rows there are)] rows near one query [dim], in no order that can be relied on: the
        k that `search` returns, or the same but for noise and a few more.

        For a caller that scores the rows itself: it spares scoring them here.
        """
        if self._kind == "hnsw" and allowed is None and k + _FEW_MORE <= self._index.hnsw.efSearch:
            _, found = self._index.search(query[None, :], min(k + _FEW_MORE, self.size))
            rows: Int64Array = found[0]
            if int(rows[-1]) >= 0:
                return rows
        rows = self.search(query[None, :], k, allowed).rows[0]
        return rows[rows >= 0]

    def save(self, path: Path) -> None:
        """Write the index durably. Raises Unwritable."""
        write_index(self._index, path)

    def _better_scanned(self, allowed: Int64Array | None) -> bool:
        if allowed is None or len(allowed) > SCAN_ALLOWED_UP_TO:
            return False
        # A flat index skips what is not allowed; copying most of its rows out first would cost more.
        return self._kind != "flat" or len(allowed) <= _MOST_SHARE_COPIED * self.size

    def _scan(self, queries: Float32Array, k: int, allowed: Int64Array | None) -> SearchResult:
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            scores[i], rows[i] = best_of(query, self._vectors, k, allowed)
        return SearchResult(scores, rows)

    def _candidates(
        self, queries: Float32Array, count: int, allowed: Int64Array | None
    ) -> tuple[Float32Array, Int64Array]:
        """What FAISS finds, scored again and in order: scores and rows [n, count]."""
        selector = None if allowed is None else self._selector.of(allowed)
        if self._kind == "flat":
            parameters = faiss.SearchParameters(sel=selector) if selector is not None else None
        else:
            # The walk must meet `count` rows that are allowed, so it is as much wider as they are rarer.
            share = 1.0 if allowed is None else len(allowed) / self.size
            effort = int(self._index.hnsw.efSearch)
            width = max(effort, int(1.5 * count / share))
            parameters = None
            if selector is not None or width != effort:
                parameters = faiss.SearchParametersHNSW(efSearch=width, sel=selector)
        _, rows = self._index.search(queries, count, params=parameters)
        return ranked(pair_scores(queries, self._vectors, rows), rows, count)
