"""Where the vectors of a FAISS index lie: inside it, or beside it in an array that may be a memory map; and
what else of FAISS takes more than a call.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.copies import groups_of_copies
from graph_store.faiss_api import faiss
from graph_store.hung_copies import hang, is_linked
from graph_store.mapped_pages import release, streamed

_BYTES_AT_ONCE = 2**30
"""So many vectors are linked at a time. FAISS links them in no order of row, and so reads a map all over: one
that does not fit into the memory, from the disk again and again. Not fewer than need be, since those of the
first part that are on many levels become the far links that lead from cluster to cluster.
"""
_COPIED_AT_ONCE = 65_536


def view_of(vectors: Float32Array) -> Any:
    """A FAISS flat index by inner product over `vectors` [n, dim], contiguous, without a copy: they must
    outlive it.
    """
    index = faiss.IndexFlatIP(vectors.shape[1])
    if len(vectors):
        data = faiss.swig_ptr(np.asarray(vectors).view(np.uint8).reshape(-1))
        # FAISS wants an owner that keeps what is viewed alive; ours is the caller, so it gets an empty one.
        index.codes = faiss.MaybeOwnedVectorUInt8.create_view(data, vectors.nbytes, index.codes.owner)
        index.ntotal = len(vectors)
    return index


def held_by(storage: Any) -> Float32Array:
    """[n, dim]: the vectors of a FAISS flat index, a view that must not outlive it."""
    num, dim = int(storage.ntotal), int(storage.d)
    if not num:
        return np.zeros((0, dim), np.float32)
    held: Float32Array = faiss.rev_swig_ptr(storage.get_xb(), num * dim).reshape(num, dim)
    return held


def put_over(index: Any, storage: Any) -> None:
    """Let an HNSW index read its vectors in `storage`, which must outlive it, and forget those it has."""
    held = None if index.storage is None else faiss.downcast_index(index.storage)
    if held is not None and index.own_fields:
        held.this.own(True)  # freed with this name for it
    index.storage, index.own_fields = storage, False


def link(index: Any, vectors: Float32Array, most_copies: int, apart: bool) -> None:
    """Add `vectors` [n, dim] to an empty HNSW index, which copies them. Where more than `most_copies` (64 at
    least) of them are one, the rest hang from a few; if `vectors` are then to be put over the index anyhow,
    since they are kept `apart`, it holds those of linked rows only until they are.
    """
    copies = groups_of_copies(vectors, most_copies)
    if not copies:
        _make_room(faiss.downcast_index(index.storage), vectors, len(vectors))
        _add(index, vectors)
        return
    linked = np.flatnonzero(is_linked(copies, len(vectors)))
    _make_room(faiss.downcast_index(index.storage), vectors, len(linked))
    at_once = _rows_at_once(vectors)
    for start in range(0, len(linked), at_once):
        index.add(vectors[linked[start : start + at_once]])
        release(vectors)
    hang(index, copies, len(vectors))
    if not apart:
        _put_in(index, vectors)


def relink(index: Any, vectors: Float32Array) -> None:
    """Add those of `vectors` [n, dim] that an HNSW index does not have yet, for one whose vectors have moved:
    all that it has are replaced by the first of `vectors`, which are copied.
    """
    _put_in(index, vectors)
    _add(index, vectors)


def begun_at(
    index: Any,
    row: int,
    vectors: Float32Array,
    query: Float32Array,
    count: int,
    width: int,
    selector: Any = None,
) -> Int64Array:
    """[at most count] rows, -1 where there are fewer, that an HNSW index over `vectors` finds for a query
    [dim] when the walk begins at a row of it, on the lowest level, and not at the top. The row itself is not
    among them. width: efSearch; selector: which rows may be found, all where None.
    """
    query = np.ascontiguousarray(query, dtype=np.float32)
    begin = np.array([row], np.int32)
    distance = np.array([-(vectors[row] @ query)], np.float32)  # FAISS's distances are negated products
    scores, rows = np.empty((1, count), np.float32), np.empty((1, count), np.int64)
    index.search_level_0(
        1,
        faiss.swig_ptr(query),
        count,
        faiss.swig_ptr(begin),
        faiss.swig_ptr(distance),
        faiss.swig_ptr(scores),
        faiss.swig_ptr(rows),
        1,
        1,
        faiss.SearchParametersHNSW(efSearch=width, sel=selector),
    )
    found: Int64Array = rows[0][rows[0] != row]
    return found


def _put_in(index: Any, vectors: Float32Array) -> None:
    """Let an HNSW index hold copies of the first of `vectors`, as many as it has, and of no others."""
    storage = faiss.IndexFlatIP(index.d)
    _make_room(storage, vectors, len(vectors))
    for start, stop in streamed(int(index.ntotal), _COPIED_AT_ONCE, vectors):
        storage.add(vectors[start:stop])
    put_over(index, storage)
    storage.this.disown()
    index.own_fields = True


def _make_room(storage: Any, vectors: Float32Array, rows: int) -> None:
    """For so many rows of `vectors` at once: what FAISS keeps vectors in doubles when it grows, and is copied
    each time. A map that was read to be checked makes room for the copy.
    """
    release(vectors)
    storage.codes.resize(rows * vectors[:1].nbytes)
    storage.codes.resize(0)


def _add(index: Any, vectors: Float32Array) -> None:
    at_once = _rows_at_once(vectors)
    for start in range(int(index.ntotal), len(vectors), at_once):
        index.add(vectors[start : start + at_once])
        release(vectors)


def _rows_at_once(vectors: Float32Array) -> int:
    return max(1, _BYTES_AT_ONCE // vectors[:1].nbytes) if vectors.size else 1
