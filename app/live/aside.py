"""Bytes of pictures that wait to be stored: a few in memory, and the rest in a file that has no name."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

from graph_store.durable import refusing_unwritable

IN_MEMORY = 64 * 2**20
"""Bytes of one request that are held in memory. What it brings by data is less than the body may have; what
is fetched by address may be hundreds of times that.
"""


class Aside:
    """What one request has brought so far. The file lies in `folder` and is gone with the last who may read
    it, or with the process.
    """

    def __init__(self, folder: Path, in_memory: int = IN_MEMORY) -> None:
        self._folder, self._room = folder, in_memory
        self._descriptor: int | None = None
        self._end = 0
        self._writing = threading.Lock()

    def put(self, data: bytes) -> Callable[[], bytes]:
        """How to get them again. Raises Unwritable."""
        size = len(data)
        with self._writing, refusing_unwritable(self._folder):
            if size <= self._room:
                self._room -= size
                return partial(bytes, data)
            if self._descriptor is None:
                self._descriptor = self._unnamed()
            start, left = self._end, memoryview(data)
            while left:
                written = os.pwrite(self._descriptor, left, self._end)
                self._end += written
                left = left[written:]
        # Not a lambda that asks for len(data): it would hold the bytes as well.
        return partial(self._read, start, size)

    def _unnamed(self) -> int:
        with tempfile.TemporaryFile(dir=self._folder) as file:
            descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def _read(self, start: int, size: int) -> bytes:
        assert self._descriptor is not None  # it was written
        return os.pread(self._descriptor, size, start)
