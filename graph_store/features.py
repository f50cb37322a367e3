"""Encoder features of all images in one flat file per encoder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from graph_store.arrays import BoolArray, Float32Array, Int64Array, UInt32Array
from graph_store.durable import fsync_dir, fsync_file, refusing_unwritable, write_bytes
from graph_store.errors import BadInput, CorruptFile, EncoderMismatch, NothingToServe
from graph_store.mapped_pages import release
from graph_store.row_checksums import RowChecksums, sums_of

_DTYPE = np.dtype("<f4")
_AT_ONCE = 65_536
"""Rows that are looked at before the memory they lie in is given back."""


class FeatureFile:
    """`<slug>.f32`: float32 rows of `dim` numbers, little-endian, nothing else; `<slug>.json` holds the
    dimension, `<slug>.crc32` a checksum for each row.

    Crash rule: rows are written and fsynced before the catalogue transaction that refers to them. So rows
    from the catalogue's `next_row()` on are left-overs of a killed run and are overwritten by the next one.
    """

    def __init__(self, path: Path, dim: int, summed: bool) -> None:
        """summed: whether each row has a checksum; in files of an older imsage, none has until one is
        written.
        """
        self.path = path
        self.dim = dim
        self._summed = summed
        self._sums = RowChecksums(path.with_suffix(".crc32"))

    @classmethod
    def open(cls, directory: Path, slug: str, dim: int, create: bool = False) -> FeatureFile:
        """Open the features of one encoder. With `create` the file is made, and mended as far as it can be
        without its rows, whose images then count as damaged.

        Raises NothingToServe when there is none, EncoderMismatch when it has another dimension, CorruptFile
        when its description cannot be read.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]*", slug) or dim < 1:
            raise ValueError(f"no slug and dimension for a feature file: {slug!r}, {dim}")
        path, description = directory / f"{slug}.f32", directory / f"{slug}.json"
        if create:
            _make(path, description, dim)
        elif not description.exists():
            raise NothingToServe(f"There are no features at {path}", hint="Run imsage ingest first.")
        recorded, summed = _read(description)
        if recorded != dim:
            raise EncoderMismatch(
                f"The features at {path} have dimension {recorded}, and the encoder has {dim}",
                hint="Use the encoder that made them, or ingest into a new data directory.",
            )
        if not path.exists():
            raise CorruptFile(f"The feature file {path} is missing", path=path)
        return cls(path, dim, summed)

    @property
    def num_rows(self) -> int:
        """How many whole rows the file holds; a row cut short by a kill does not count."""
        return self.path.stat().st_size // (self.dim * _DTYPE.itemsize)

    def write(self, first_row: int, rows: ArrayLike) -> None:
        """Put `rows` [n, dim] at `first_row` and wait until they are on the disk.

        Raises BadInput, which names the row, for another dimension or a number that is not finite;
        Unwritable.
        """
        array = np.asarray(rows)
        if array.ndim != 2 or array.shape[1] != self.dim:
            raise BadInput(
                f"Features for row {first_row} have shape {list(array.shape)}; "
                f"this file takes dimension {self.dim}"
            )
        with np.errstate(
            over="ignore"
        ):  # a number too large for float32 becomes infinite, and is refused below
            array = np.ascontiguousarray(array, dtype=_DTYPE)
        finite = np.isfinite(array)
        if not bool(finite.all()):
            row, column = (int(place) for place in np.argwhere(~finite)[0])
            raise BadInput(
                f"Feature row {first_row + row} has {array[row, column]} at position {column} of {self.dim}"
            )
        if not 0 <= first_row <= self.num_rows:
            raise ValueError(
                f"row {first_row} would leave a gap after the {self.num_rows} rows of {self.path}"
            )
        self._put(first_row, array)

    def restore(self, rows: Int64Array, features: Float32Array) -> BoolArray:
        """Put back rows [n] that were damaged, in ascending order, from copies [n, dim]. Returns [n]: which
        copies are what was written; of the other rows nothing is changed.

        Where a checksum was lost or is damaged itself, a copy counts that is what the row still holds.
        """
        array = np.ascontiguousarray(features, dtype=_DTYPE)
        if array.shape[1] != self.dim:
            return np.zeros(len(rows), np.bool_)
        sound = self._sums.fit(rows, sums_of(array))
        there = np.flatnonzero(rows < self.num_rows)
        present = np.ascontiguousarray(self.view()[rows[there]])
        sound[there] |= (present.view(np.uint32) == array[there].view(np.uint32)).all(axis=1)
        places = np.flatnonzero(sound)
        # Each run is waited for once: with a disk's wait for each row, a million rows take hours.
        for run in np.split(places, np.flatnonzero(np.diff(rows[places]) != 1) + 1) if len(places) else ():
            self._put(int(rows[run[0]]), array[run])
        return sound

    def damaged(self, rows: Sequence[int] | Int64Array) -> list[int]:
        """Those of the rows that are not as they were written, or that the file does not reach."""
        table = self.view()
        is_sound = self._sums.checker(table, self._summed)
        found: list[int] = []
        for start in range(0, len(rows), _AT_ONCE):
            found += [row for row in map(int, rows[start : start + _AT_ONCE]) if not is_sound(row)]
            release(table)
        return found

    def sums(self, rows: Int64Array) -> UInt32Array:
        """[n]: a checksum of each of the rows, as they were written."""
        return self._sums.of(self.view(), rows)

    def checker(self) -> Callable[[int], bool]:
        """A function that says whether a row, of those that are there now, is as it was written."""
        return self._sums.checker(self.view(), self._summed)

    def extend(self, num_rows: int) -> None:
        """Make the file as long as its rows have been, where the end of it was lost; what was lost counts as
        damaged. Raises Unwritable.
        """
        present = self.num_rows
        if present >= num_rows:
            return
        with refusing_unwritable(self.path):
            self._sum_up_to(present)
            os.truncate(self.path, num_rows * self.dim * _DTYPE.itemsize)
            fsync_file(self.path)
            self._sum_up_to(num_rows)

    def cut(self, num_rows: int) -> None:
        """Drop the rows from `num_rows` on, which no image refers to. Raises Unwritable."""
        with refusing_unwritable(self.path):
            for path, size in ((self.path, self.dim * _DTYPE.itemsize), (self._sums.path, _DTYPE.itemsize)):
                if path.exists() and path.stat().st_size > num_rows * size:
                    os.truncate(path, num_rows * size)

    def view(self, num_rows: int | None = None) -> Float32Array:
        """The first `num_rows` rows (all when None) as a read-only memory map [n, dim] float32.

        Raises CorruptFile when the file holds fewer.
        """
        present = self.num_rows
        wanted = present if num_rows is None else num_rows
        if wanted > present:
            raise CorruptFile(
                f"The feature file {self.path} holds {present} rows, and {wanted} are needed", path=self.path
            )
        if wanted == 0:  # nothing can be mapped from an empty file
            return np.zeros((0, self.dim), np.float32)
        return np.memmap(self.path, dtype=_DTYPE, mode="r", shape=(wanted, self.dim))

    def _put(self, first_row: int, array: Float32Array) -> None:
        with refusing_unwritable(self.path):
            self._sum_up_to(first_row)
            with self.path.open("r+b") as file:
                file.seek(first_row * self.dim * _DTYPE.itemsize)
                file.write(array.data)
                file.flush()
                os.fsync(file.fileno())
            self._sums.write(first_row, sums_of(array))

    def _sum_up_to(self, num_rows: int) -> None:
        """Give a checksum to each of the first rows that has none: its own in a file that never had any, else
        one that does not fit, for nobody can vouch for what has lost its own.
        """
        begun = len(self._sums)
        if begun < num_rows:
            sums = sums_of(self.view(num_rows)[begun:])
            self._sums.write(begun, ~sums if self._summed else sums)
        if not self._summed:
            _describe(self.path.with_suffix(".json"), self.dim)
            self._summed = True


def _make(path: Path, description: Path, dim: int) -> None:
    """Make what is missing of a feature file. Raises Unwritable."""
    with refusing_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch()
            fsync_dir(path.parent)
    # The description comes last: where it is, the features are.
    try:
        _read(description)
    except (FileNotFoundError, CorruptFile):
        _describe(description, dim)


def _describe(description: Path, dim: int) -> None:
    told = {"dim": dim, "dtype": "float32", "checksums": "crc32"}
    write_bytes(description, json.dumps(told).encode())


def _read(description: Path) -> tuple[int, bool]:
    """The dimension, and whether there are checksums. Raises CorruptFile, FileNotFoundError."""
    try:
        told = json.loads(description.read_bytes())
        known = {"dim", "dtype", "checksums"}
        if not set(told) <= known or told["dtype"] != "float32" or told.get("checksums", "crc32") != "crc32":
            raise ValueError("it says what this imsage does not know")
        return int(told["dim"]), "checksums" in told
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"The description {description} cannot be read", path=description) from error
