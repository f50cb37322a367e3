"""The codes of a compressed index, taken over into one of other vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.faiss_api import faiss

_AT_ONCE = 65_536


def recoded(index: Any, row_of: Int64Array, coded: Callable[[Int64Array], Float32Array]) -> Any:
    """An index by the centres and the codebook of `index`, a fast scan of product-quantised residuals. The
    i-th vector has the code of row row_of[i] there; where that is -1 it is coded anew: coded(rows) gives
    those vectors, [n, index.d].

    By way of lists that are not packed for the fast scan: once FAISS 1.15 has removed rows from packed ones,
    it finds fewer of those that stayed (a fifth removed and coded again: 0.990 in place of 0.999), and to
    code all vectors again takes four times as long as this.
    """
    unpacked = faiss.ArrayInvertedLists(index.nlist, index.code_size)
    index.orig_invlists = unpacked
    index.reconstruct_orig_invlists()
    index.orig_invlists = None
    plain = faiss.IndexIVFPQ(
        index.quantizer, index.d, index.nlist, index.pq.M, index.pq.nbits, index.metric_type
    )
    plain.own_fields = False
    plain.pq, plain.by_residual, plain.is_trained = index.pq, index.by_residual, True
    kept = np.flatnonzero(row_of >= 0)
    row_now = np.full(int(index.ntotal), -1, np.int64)
    row_now[row_of[kept]] = kept
    for number in range(index.nlist):
        size = unpacked.list_size(number)
        if not size:
            continue
        rows = row_now[faiss.rev_swig_ptr(unpacked.get_ids(number), size)]
        codes = faiss.rev_swig_ptr(unpacked.get_codes(number), size * unpacked.code_size).reshape(size, -1)
        stay = rows >= 0
        rows, codes = rows[stay], np.ascontiguousarray(codes[stay])
        plain.invlists.add_entries(number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
    plain.ntotal = len(kept)
    other = np.flatnonzero(row_of < 0)
    for start in range(0, len(other), _AT_ONCE):
        part = other[start : start + _AT_ONCE]
        plain.add_with_ids(coded(part), part)
    packed = faiss.IndexIVFPQFastScan(plain)
    packed.referenced_objects = [index]  # whose centres it reads
    return packed
