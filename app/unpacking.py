"""How many pixels may be unpacked at once: some bytes of a file may become a gigabyte of pixels."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class UnpackingRoom:
    """Room for so many pixels. Who needs more than is free waits, in the order of arrival; what does not fit
    even an empty room goes in alone. So the memory that pictures take does not grow with the threads.
    """

    def __init__(self, pixels: int) -> None:
        self._free = self._all = max(1, pixels)
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def taking(self, pixels: int) -> Iterator[None]:
        """Have room for so many pixels for the length of a `with` block."""
        needed = min(pixels, self._all)
        me = object()
        with self._changed:
            self._waiting.append(me)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is me and self._free >= needed)
                self._free -= needed
            finally:
                self._waiting.remove(me)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()
