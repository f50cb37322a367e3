"""The vector index inside the process: FAISS, exact for small catalogues and HNSW for large ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from graph_store import index_choice
from graph_store.arrays import Float32Array, Int64Array
from graph_store.copies import groups_of_copies
from graph_store.errors import CorruptFile
from graph_store.exact import (
    MARGIN,
    SLACK,
    best_of,
    cut_through_a_tie,
    fitted,
    pair_scores,
    ranked,
)
from graph_store.faiss_api import faiss
from graph_store.faiss_files import read_index, write_index
from graph_store.faiss_storage import begun_at, held_by, link, put_over, relink, view_of
from graph_store.hung_copies import has_hung
from graph_store.index_inputs import checked_search, checked_vectors
from graph_store.index_sample import Sample, between, stored_of
from graph_store.row_selector import RowSelector
from graph_store.vector_index import SearchResult

Kind = Literal["flat", "hnsw"]
WantedKind = Literal["auto", "flat", "hnsw"]

SCAN_ALLOWED_UP_TO = 20_000
"""At most this many allowed rows are scanned one by one; a graph walk would meet too few of them."""

_MOST_SHARE_COPIED = 0.5

_FEW_MORE = 4
"""How many rows beyond k are given to a caller that scores them itself, so that noise at the end is no
matter.
"""

_SAMPLE, _BEST, _RECALL = 256, 10, 0.95
"""How it is measured what an index finds: one that was grown, and how wide a new one is searched."""

_LINKS, _EF_CONSTRUCTION = 32, 120
_MOST_COPIES = 2 * _LINKS
"""With more copies of one vector, all links of a copy lead to others, and walks do not come out of them."""

_EFFORTS = (128, 256, 384)
"""efSearch: a question takes 0.6, 0.9 and 1.0 ms at a million images of 640 numbers."""

NEAR_EFFORT, _NEAR_WIDER = 64, 2.5
"""efSearch of a walk that begins near its end: at least 64, and 2.5 for each row that is wanted
(docs/decisions/0012).
"""


class FaissIndex:
    """Nearest rows by inner product; search is safe from many threads at once.

    `flat` is exact, ties included. `hnsw` (M = 32, efConstruction = 120) is searched as wide as a sample of
    questions needs, within limits (docs/performance.md, "Which index"); its links depend on the order in
    which threads add vectors, unless FAISS runs on one. Either way the scores that come back are computed
    again pair by pair: one pair always has one score, and equal scores are in order of row.
    """

    def __init__(self, index: Any, kind: Kind, vectors: Float32Array | None = None) -> None:
        """vectors: [n, dim] contiguous float32, for an index that has none of its own."""
        self._apart = vectors is not None
        if vectors is None:
            storage = index if kind == "flat" else faiss.downcast_index(index.storage)
        else:
            storage = view_of(vectors)
            if kind == "flat":
                index = storage
            else:
                put_over(index, storage)
        self._index, self._storage = index, storage
        self._kind: Kind = kind
        self._selector = RowSelector(int(index.ntotal))
        self._vectors: Float32Array = held_by(storage) if vectors is None else np.asarray(vectors)

    @classmethod
    def build(
        cls,
        vectors: Float32Array,
        kind: WantedKind = "auto",
        *,
        effort: int | None = None,
        apart: bool = False,
        questions: Float32Array | None = None,
    ) -> FaissIndex:
        """Index `vectors` [n, dim] float32 of norm about 1. effort: efSearch of an `hnsw`; None is the least
        of 128, 256 and 384 that finds 95 % of the best of a sample of stored vectors, of points between two,
        and of `questions` [m, dim], such as will be asked; or the last. apart: the vectors stay where they
        are, which may be a memory map, must not change, and are given to `open` again; else they are copied
        and saved with the index. Raises BadInput when a vector is not finite.
        """
        vectors = checked_vectors(vectors, None)
        if _kind_for(len(vectors), kind) == "flat":
            index = faiss.IndexFlatIP(vectors.shape[1])
            if not apart:
                index.add(vectors)
            return cls(index, "flat", vectors if apart else None)
        index = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _EF_CONSTRUCTION
        index.hnsw.efSearch = effort or _EFFORTS[0]
        link(index, vectors, _MOST_COPIES, apart)
        result = cls(index, "hnsw", vectors if apart else None)
        if effort is None and result.size > _EFFORTS[-1]:
            result._find_effort(questions, result._stored_sample())
        return result

    @classmethod
    def grown(
        cls,
        path: Path,
        vectors: Float32Array,
        kind: WantedKind = "auto",
        *,
        effort: int | None = None,
        apart: bool = False,
        questions: Float32Array | None = None,
    ) -> FaissIndex:
        """`build`, but the links of an HNSW index in a file are kept: its rows are the first of `vectors`,
        which may have moved a little since, and the others are added. How wide it is searched is as `build`
        would have it.

        A sample of 256 vectors must still find 95 % of their ten best, else, or where the file holds another
        kind of index or one of that kind is not wanted, all is built anew. So it is where more than 64 are
        or were copies of one: what hangs is not to be linked to, and may not be a copy any more.
        """
        vectors = checked_vectors(vectors, None)
        index = read_index(path, mapped=False)  # in memory, where it may be written to
        linked = isinstance(index, faiss.IndexHNSWFlat) and kind != "flat"
        if not linked or index.d != vectors.shape[1] or index.ntotal > len(vectors):
            return cls.build(vectors, kind, effort=effort, apart=apart, questions=questions)
        if has_hung(index) or groups_of_copies(vectors, _MOST_COPIES):
            return cls.build(vectors, kind, effort=effort, apart=apart, questions=questions)
        relink(index, vectors)
        if effort is not None:
            index.hnsw.efSearch = effort
        result = cls(index, "hnsw", vectors if apart else None)
        stored = result._stored_sample()
        if not result._finds_enough(stored):
            return cls.build(vectors, kind, effort=effort, apart=apart, questions=questions)
        if effort is None:
            index.hnsw.efSearch = _EFFORTS[0]
            if result.size > _EFFORTS[-1]:
                result._find_effort(questions, stored)
        return result

    def _finds_enough(self, sample: Sample) -> bool:
        found = self.search(sample.questions, _BEST).scores
        return bool((found >= sample.scores[:, -1:] - MARGIN).sum() >= _RECALL * sample.scores.size)

    def _stored_sample(self) -> Sample:
        return Sample.of(stored_of(self._vectors, _SAMPLE), self._vectors, _BEST)

    def _find_effort(self, questions: Float32Array | None, stored: Sample) -> None:
        """Search as wide as the samples need: stored vectors, what lies between them, and the questions. Few
        vectors need no width.
        """
        asked = [between(stored.questions), *([] if questions is None else [questions])]
        samples = [stored, *(Sample.of(each, self._vectors, _BEST) for each in asked)]
        for effort in _EFFORTS:
            self._index.hnsw.efSearch = effort
            if all(self._finds_enough(sample) for sample in samples):
                break

    @classmethod
    def open(cls, path: Path, kind: Kind | None = None, vectors: Float32Array | None = None) -> FaissIndex:
        """Map an index from a file. vectors: [n, dim] those that it was built of, for an index apart from
        them; any other reads its own. Raises CorruptFile when it is cut short, not of that kind, or not of
        these vectors.

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
        apart = index.ntotal == 0 if found == "flat" else index.storage is None
        if not apart:
            return cls(index, found)
        vectors = np.zeros((0, index.d), np.float32) if vectors is None else np.asarray(vectors)
        if vectors.shape[1] != index.d or (found == "hnsw" and index.ntotal != len(vectors)):
            raise CorruptFile(
                f"The index {path} is over {index.ntotal or 'any'} vectors of {index.d} numbers, not over "
                f"{len(vectors)} of {vectors.shape[1]}",
                path=path,
            )
        return cls(index, found, vectors)

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
    def effort(self) -> int:
        """How wide an `hnsw` index is searched (FAISS's efSearch); 0 where all vectors are compared."""
        return int(self._index.hnsw.efSearch) if self._kind == "hnsw" else 0

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

    def nearest(
        self, query: Float32Array, k: int, allowed: Int64Array | None = None, *, near: int | None = None
    ) -> Int64Array:
        """[at least min(k, rows there are)] rows near one query [dim], in no order that can be relied on: the
        k that `search` returns, or the same but for noise and a few more. near: a row among the query's own
        neighbours or not far from them, where one is known: a walk that begins there finds as much in a
        fraction of the time.

        For a caller that scores the rows itself: it spares scoring them here.
        """
        if self._kind == "hnsw" and not (allowed is not None and self._better_scanned(allowed)):
            rows = self._walked(query, k + _FEW_MORE, allowed, near)
            if len(rows) >= min(k, self.size if allowed is None else len(allowed)):
                return rows
        found: Int64Array = self.search(query[None, :], k, allowed).rows[0]
        return found[found >= 0]

    def _walked(
        self, query: Float32Array, count: int, allowed: Int64Array | None, near: int | None
    ) -> Int64Array:
        """[at most count + 1] rows that a narrow walk meets; none where it would have to be a wide one."""
        share = 1.0 if allowed is None else len(allowed) / self.size
        width = int(max(NEAR_EFFORT, _NEAR_WIDER * count) / share)
        met: Int64Array = np.zeros(0, np.int64)
        if near is not None and width <= self.effort:
            selector = None if allowed is None else self._selector.of(allowed)
            met = begun_at(self._index, near, self._vectors, query, min(count, self.size), width, selector)
            if allowed is None or bool((allowed == near).any()):
                met = np.append(met, near)  # where it begins is not what it meets
        elif allowed is None and count <= self.effort:
            met = self._index.search(query[None, :], min(count, self.size))[1][0]
        rows: Int64Array = met[met >= 0]
        return rows

    def save(self, path: Path) -> None:
        """Write the index durably, without vectors that are apart from it. Raises Unwritable."""
        if self._apart and self._kind == "flat":
            write_index(faiss.IndexFlatIP(self.dim), path)
        else:
            write_index(self._index, path, vectors=not self._apart)

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


def _kind_for(num: int, wanted: WantedKind) -> Kind:
    if wanted == "auto":
        return "flat" if num < index_choice.FLAT_BELOW else "hnsw"
    return wanted
