"""How the server processes of one machine learn at once that one of them has changed the catalogue."""

from __future__ import annotations

import mmap
import os
import secrets
from pathlib import Path

import structlog

from graph_store.data_dir import DataDir

_BYTES = 8


def notice_path(data_dir: DataDir) -> Path:
    """Where the notice lies."""
    return data_dir.root / "changes.notice"


class ChangeNotice:
    """A number in a file that every process maps: whoever has changed the catalogue writes another one before
    it answers, so whoever is asked afterwards sees that there is something to read.

    Reading costs less than a microsecond, so every question can look. It is a hint and nothing more: where
    the file cannot be made (a read-only directory) the number stays 0, and changes are noticed when the
    server looks for itself. Nothing is lost with the file.
    """

    def __init__(self, path: Path) -> None:
        self._map: mmap.mmap | None = None
        self._number = memoryview(bytearray(_BYTES)).cast("q")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                # Several processes may do so at once: the bytes that are there stay as they are. The room is
                # taken now: a store into a hole would end the process when the disk is full.
                os.posix_fallocate(descriptor, 0, _BYTES)
                self._map = mmap.mmap(descriptor, _BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            structlog.get_logger().warning("changes_not_announced", path=str(path), reason=str(error))
        else:
            # One aligned number of eight bytes is read and written whole.
            self._number = memoryview(self._map).cast("q")

    @property
    def number(self) -> int:
        """It is another one after each change."""
        return self._number[0]

    def announce(self) -> None:
        """To be called after a change. The number is drawn, not counted: when two processes announce at once,
        neither can be taken for one that was there before.
        """
        self._number[0] = secrets.randbits(62)

    def close(self) -> None:
        """Let go of the file."""
        self._number.release()
        if self._map is not None:
            self._map.close()
        self._number = memoryview(bytearray(_BYTES)).cast("q")
        self._map = None
