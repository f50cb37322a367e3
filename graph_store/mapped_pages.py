"""Pages of memory-mapped files: what a long job has read or written of them stays resident until it says
otherwise.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

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
    written block by block.
    """
    for start, stop in streamed(len(new), _ROWS, new, old[: len(new)]):
        rows = old_of[start:stop]
        if rows[0] >= 0 and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
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


def _map_below(array: AnyArray) -> mmap.mmap | None:
    """The map that an array, or what it is a view of, lies in."""
    below: object = array
    while isinstance(below, np.ndarray):
        if isinstance(below, np.memmap) and below.mode == "c":
            return None
        below = below.base
    return below if isinstance(below, mmap.mmap) else None
