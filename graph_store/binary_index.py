"""Binary codes searched by Hamming distance: FAISS, a scan for all but very large catalogues."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from graph_store.arrays import Int64Array
from graph_store.durable import fsync_dir, refusing_unwritable
from graph_store.errors import BadInput, CorruptFile
from graph_store.exhaustion import refused_by_the_system
from graph_store.faiss_api import faiss

Codes: TypeAlias = NDArray[np.uint8]
"""[n, bits / 8] uint8: eight bits a byte, the first bit lowest."""

BinaryKind = Literal["flat", "hnsw"]

SCAN_BELOW = 1_000_000
"""`auto` scans all codes below this size: 32 MB of 256-bit codes, some milliseconds, and exact."""

_LINKS, _EF_SEARCH = 32, 128

_MOST_ASKED: dict[BinaryKind, float] = {"flat": 1 / 8, "hnsw": 1 / 64}
"""The share of all rows up to which FAISS is asked for as many more as are not allowed, and those are
dropped; beyond, comparing the allowed ones here costs less.
"""


class BinaryIndex:
    """Nearest rows by the number of bits that differ; search is safe from many threads at once.

    `flat` is exact, and of equal distances the lower rows come first. `hnsw` walks a graph of links and may
    miss some.
    """

    def __init__(self, index: Any, kind: BinaryKind) -> None:
        self._index = index
        self._kind: BinaryKind = kind
        storage = index if kind == "flat" else faiss.downcast_IndexBinary(index.storage)
        width = index.d // 8
        self._codes: Codes = (
            faiss.rev_swig_ptr(storage.xb.data(), index.ntotal * width).reshape(index.ntotal, width)
            if index.ntotal
            else np.zeros((0, width), np.uint8)
        )

    @classmethod
    def build(cls, codes: Codes, kind: Literal["auto", "flat", "hnsw"] = "auto") -> BinaryIndex:
        """Index `codes`, which are copied. Raises BadInput when they are not rows of bytes."""
        codes = _checked(codes, None)
        chosen: BinaryKind = ("flat" if len(codes) < SCAN_BELOW else "hnsw") if kind == "auto" else kind
        bits = codes.shape[1] * 8
        index = faiss.IndexBinaryFlat(bits) if chosen == "flat" else faiss.IndexBinaryHNSW(bits, _LINKS)
        index.add(codes)
        return cls(index, chosen)

    @classmethod
    def open(cls, path: Path) -> BinaryIndex:
        """Map an index from a file. Raises CorruptFile when it is missing, cut short or no such index.

        Take the file from a snapshot: that checks it, FAISS does not.
        """
        if not path.is_file():
            raise CorruptFile(f"The index {path} is missing", path=path)
        try:
            index = faiss.read_index_binary(str(path), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, MemoryError) as error:
            lacking = refused_by_the_system(error)
            if lacking is not None:
                raise lacking from error
            raise CorruptFile(f"The index {path} cannot be read", path=path) from error
        if isinstance(index, faiss.IndexBinaryFlat):
            return cls(index, "flat")
        if isinstance(index, faiss.IndexBinaryHNSW):
            index.hnsw.efSearch = _EF_SEARCH
            return cls(index, "hnsw")
        raise CorruptFile(f"The index {path} is not an index of binary codes", path=path)

    @property
    def kind(self) -> str:
        """`flat` or `hnsw`."""
        return self._kind

    @property
    def bits(self) -> int:
        """The length of each code."""
        return int(self._index.d)

    @property
    def size(self) -> int:
        """How many codes it holds."""
        return int(self._index.ntotal)

    @property
    def codes(self) -> Codes:
        """The indexed codes: a view that must not be written to or outlive the index."""
        return self._codes

    def nearest(self, code: Codes, k: int, allowed: Int64Array | None = None) -> Int64Array:
        """[min(k, rows there are)] the rows whose codes differ least from `code` [bits / 8], of those in
        `allowed` (sorted, each once) where it is given; the nearest first, equal ones by lower row. Where few
        rows are not allowed it is as quick as without a filter.

        Raises BadInput for a code of another length.
        """
        code = _checked(code[None, :], self.bits)[0]
        wanted = min(k, self.size if allowed is None else len(allowed))
        if wanted < 1:
            return np.zeros(0, np.int64)
        if allowed is None:
            return self._found(code, wanted)
        asked = wanted + self.size - len(allowed)
        if asked <= _MOST_ASKED[self._kind] * self.size:
            found = self._found(code, asked)
            places = np.minimum(np.searchsorted(allowed, found), len(allowed) - 1)
            kept: Int64Array = found[allowed[places] == found][:wanted]
            if len(kept) == wanted:
                return kept
        order = np.argsort(self.distances(code, allowed), kind="stable")[:wanted]
        picked: Int64Array = allowed[order]
        return picked

    def _found(self, code: Codes, count: int) -> Int64Array:
        """[at most count] the nearest of all rows."""
        parameters = None
        if self._kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(efSearch=max(_EF_SEARCH, count))
        _, rows = self._index.search(code[None, :], count, params=parameters)
        found: Int64Array = rows[0][rows[0] >= 0].astype(np.int64)
        return found

    def distances(self, code: Codes, rows: Int64Array) -> Int64Array:
        """[len(rows)]: how many bits of each row's code differ from `code` [bits / 8]."""
        result: Int64Array = np.bitwise_count(self._codes[rows] ^ code).sum(axis=1, dtype=np.int64)
        return result

    def save(self, path: Path) -> None:
        """Write the index durably. Raises Unwritable."""
        with refusing_unwritable(path):
            with path.open("wb") as file:
                faiss.write_index_binary(self._index, faiss.PyCallbackIOWriter(file.write))
                file.flush()
                os.fsync(file.fileno())
            fsync_dir(path.parent)


def _checked(codes: Codes, bits: int | None) -> Codes:
    codes = np.ascontiguousarray(codes)
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != (bits or codes.shape[1] * 8) // 8:
        raise BadInput(
            f"Codes of shape {list(codes.shape)} and type {codes.dtype} where [n, {bits or 'bits'} / 8] uint8"
            " is needed"
        )
    return codes
