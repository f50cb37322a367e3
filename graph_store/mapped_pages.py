"""Pages of memory-mapped files: what a long job has read or written of them stays resident until it says
otherwise.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np

from graph_store.arrays import AnyArray, Int64Array

_BYTES_BETWEEN = 2**28
_ROWS = 8192


def release(*arrays: AnyArray) -> None:
    """Take the pages of mapped arrays out of this process's memory; arrays that are not mapped stay as they
    are.

    Nothing is lost: they are read again when they are needed, mostly from the system's cache, and what was
    written to a map stays in that cache until it is on the disk. Copy-on-write maps, whose changes would go,
    are left alone. For long jobs: a server would have to find the pages again, one by one.
    """
    for array in arrays:
        pages = _map_below(array)
        if pages is not None:
            pages.madvise(mmap.MADV_DONTNEED)


def copy_rows(old: AnyArray, old_of: Int64Array, new: AnyArray) -> None:
    """new[i] = old[old_of[i]] for all i whose old_of [n] is not -1; both may be mapped, and are read and
    written block by block. What lies together in two files is copied by the system from one to the other.
    """
    with _Files(old, new) as files:
        for start, stop in streamed(len(new), _ROWS, new, old[: len(new)]):
            rows = old_of[start:stop]
            if rows[0] >= 0 and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
                if not files.copied(int(rows[0]), start, len(rows)):
                    new[start:stop] = old[rows[0] : rows[0] + len(rows)]  # without a copy in between
            else:
                known = np.flatnonzero(rows >= 0)
                new[start + known] = old[rows[known]]


def streamed(num: int, size: int, *arrays: AnyArray) -> Iterator[tuple[int, int]]:
    """The blocks start..stop of `num` rows, `size` rows each; what has been read or written of `arrays` by
    then is released every 256 MiB and at the end. For passes that look at each row once.
    """
    touched = 0
    for start in range(0, num, size):
        stop = min(start + size, num)
        yield start, stop
        touched += sum(array[start:stop].nbytes for array in arrays)
        if touched >= _BYTES_BETWEEN:
            release(*arrays)
            touched = 0
    release(*arrays)


class _Files:
    """The files below two mapped arrays, where both are whole maps of rows of the same kind."""

    def __init__(self, old: AnyArray, new: AnyArray) -> None:
        alike = old.dtype == new.dtype and old.shape[1:] == new.shape[1:]
        self._old, self._new = (_place_of(old), _place_of(new)) if alike else (None, None)
        self._row = new[:1].nbytes
        self._open = ExitStack()
        self._handles: tuple[int, int] | None = None

    def __enter__(self) -> _Files:
        if self._old is not None and self._new is not None:
            with suppress(OSError):
                source = self._open.enter_context(self._old[0].open("rb"))
                target = self._open.enter_context(self._new[0].open("r+b"))
                self._handles = source.fileno(), target.fileno()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def copied(self, old_row: int, new_row: int, num: int) -> bool:
        """Copy rows. Returns whether they were."""
        if self._handles is None or self._old is None or self._new is None:
            return False
        read, write = self._old[1] + old_row * self._row, self._new[1] + new_row * self._row
        if not _copied(*self._handles, num * self._row, read, write):
            self._handles = None
        return self._handles is not None


def copied_to(array: AnyArray, target: int, at: int) -> bool:
    """Let the system copy the bytes of a mapped array to a place in an open file. Returns whether it did:
    not every array is a map, and not every file system does it.
    """
    place = _place_of(array)
    if place is None:
        return False
    with suppress(OSError), place[0].open("rb") as source:
        return _copied(source.fileno(), target, array.nbytes, place[1], at)
    return False


def _copied(source: int, target: int, count: int, read: int, write: int) -> bool:
    """Copy `count` bytes from one open file to a place in another. Returns whether all were.

    Maps of the files see the same pages, and touching each page of a map takes three times as long.
    """
    while count:
        try:
            done = os.copy_file_range(source, target, count, read, write)
        except OSError:
            return False
        if not done:
            return False
        read, write, count = read + done, write + done, count - done
    return True


def _place_of(array: AnyArray) -> tuple[Path, int] | None:
    """The file that an array with rows is a map of, and where in it the first one begins; None where the
    file may not hold what the array does.
    """
    below: object = array
    while isinstance(below, np.ndarray) and not isinstance(below.base, mmap.mmap):
        below = below.base
    if not isinstance(below, np.memmap) or below.mode == "c" or not below.filename:
        return None
    if not array.flags.c_contiguous:
        return None
    within = array.__array_interface__["data"][0] - below.__array_interface__["data"][0]
    return Path(below.filename), int(below.offset) + int(within)


def _map_below(array: AnyArray) -> mmap.mmap | None:
    """The map that an array, or what it is a view of, lies in."""
    below: object = array
    while isinstance(below, np.ndarray):
        if isinstance(below, np.memmap) and below.mode == "c":
            return None
        below = below.base
    return below if isinstance(below, mmap.mmap) else None
