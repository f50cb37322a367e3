"""Encoder features of all images in one flat file per encoder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from graph_store.arrays import Float32Array
from graph_store.durable import fsync_dir, refusing_unwritable, write_bytes
from graph_store.errors import BadInput, CorruptFile, EncoderMismatch, NothingToServe

_DTYPE = np.dtype("<f4")


class FeatureFile:
    """`<slug>.f32`: float32 rows of `dim` numbers, little-endian, nothing else; `<slug>.json` holds the
    dimension.

    Crash rule: rows are written and fsynced before the catalogue transaction that refers to them. So rows
    from the catalogue's `next_row()` on are left-overs of a killed run and are overwritten by the next one.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self.path = path
        self.dim = dim

    @classmethod
    def open(cls, directory: Path, slug: str, dim: int, create: bool = False) -> FeatureFile:
        """Open the features of one encoder, and make the file when `create` is set.

        Raises NothingToServe when there is none, EncoderMismatch when it has another dimension, CorruptFile
        when its description cannot be read.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]*", slug) or dim < 1:
            raise ValueError(f"no slug and dimension for a feature file: {slug!r}, {dim}")
        path, description = directory / f"{slug}.f32", directory / f"{slug}.json"
        if not description.exists():
            if not create:
                raise NothingToServe(f"There are no features at {path}", hint="Run imsage ingest first.")
            with refusing_unwritable(path):
                directory.mkdir(parents=True, exist_ok=True)
                path.touch()
            # The description comes last: where it is, the features are.
            write_bytes(description, json.dumps({"dim": dim, "dtype": "float32"}).encode())
        recorded = _read_dim(description)
        if recorded != dim:
            raise EncoderMismatch(
                f"The features at {path} have dimension {recorded}, and the encoder has {dim}",
                hint="Use the encoder that made them, or ingest into a new data directory.",
            )
        if not path.exists():
            raise CorruptFile(f"The feature file {path} is missing", path=path)
        return cls(path, dim)

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
        with refusing_unwritable(self.path), self.path.open("r+b") as file:
            file.seek(first_row * self.dim * _DTYPE.itemsize)
            file.write(array.data)
            file.flush()
            os.fsync(file.fileno())
            fsync_dir(self.path.parent)

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


def _read_dim(description: Path) -> int:
    try:
        return int(json.loads(description.read_bytes())["dim"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"The description {description} cannot be read", path=description) from error
