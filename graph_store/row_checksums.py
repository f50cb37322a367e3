"""A checksum for each row of a feature file, beside it: rows come one by one, so one sum would not do.

CRC-32 (ISO 3309, as in zlib) finds every flipped bit and every damaged run of up to 32 bits of a row.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from graph_store.arrays import BoolArray, Float32Array, Int64Array, UInt32Array
from graph_store.durable import fsync_dir

_DTYPE = np.dtype("<u4")


def sums_of(rows: Float32Array) -> UInt32Array:
    """[n] uint32 for rows [n, dim]."""
    return np.array([zlib.crc32(np.ascontiguousarray(row).data) for row in rows], dtype=_DTYPE)


class RowChecksums:
    """`<slug>.crc32`: one little-endian uint32 for each row, nothing else."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        try:
            return self.path.stat().st_size // _DTYPE.itemsize
        except FileNotFoundError:
            return 0

    def fit(self, rows: Int64Array, sums: UInt32Array) -> BoolArray:
        """[n]: of which of these rows the checksum is recorded, and is this one."""
        known = self._known()
        result: BoolArray = rows < len(known)
        result[result] = known[rows[result]] == sums[result]
        return result

    def of(self, features: Float32Array, rows: Int64Array) -> UInt32Array:
        """[n]: the checksums of these rows of `features` [m, dim], computed where none is recorded."""
        known = self._known()
        missing = rows >= len(known)
        sums = np.empty(len(rows), dtype=_DTYPE)
        sums[~missing] = known[rows[~missing]]
        sums[missing] = sums_of(features[rows[missing]])
        return sums

    def write(self, first_row: int, sums: UInt32Array) -> None:
        """Put the checksums of rows at their places, durably; the file is made where there is none."""
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, sums.astype(_DTYPE).tobytes(), first_row * _DTYPE.itemsize)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            fsync_dir(self.path.parent)

    def checker(self, features: Float32Array, all_summed: bool) -> Callable[[int], bool]:
        """A function that says whether a row is there and as it was written. features: the whole file, [m,
        dim]; all_summed: whether a row without a checksum has lost it, or else never had one.
        """
        known = self._known()
        rows = np.asarray(features)  # each look-up in a map's own class costs more than the row

        def is_sound(row: int) -> bool:
            if row >= len(rows):
                return False
            if row >= len(known):
                return not all_summed
            return zlib.crc32(np.ascontiguousarray(rows[row]).data) == int(known[row])

        return is_sound

    def _known(self) -> UInt32Array:
        """[m]: those of the first m rows, mapped."""
        num = len(self)
        if not num:
            return np.zeros(0, dtype=_DTYPE)
        return np.asarray(np.memmap(self.path, dtype=_DTYPE, mode="r", shape=(num,)))
