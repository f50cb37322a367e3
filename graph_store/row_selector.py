"""Filters in the form that FAISS takes them in."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph_store.arrays import Int64Array
from graph_store.faiss_api import faiss


class RowSelector:
    """FAISS's form of `allowed` rows among `size`. Safe from many threads at once.

    The one of the last array that cannot change is kept: a catalogue with removed pictures asks with the same
    one again and again.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._last: tuple[Int64Array, Any] | None = None

    def of(self, allowed: Int64Array) -> Any:
        """A selector of `allowed` [m], each in [0, size)."""
        last = self._last
        if last is not None and last[0] is allowed:
            return last[1]
        mask = np.zeros(self._size, np.bool_)
        mask[allowed] = True
        selector = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        if not allowed.flags.writeable:
            self._last = (allowed, selector)
        return selector
