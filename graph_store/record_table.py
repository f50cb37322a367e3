"""What a server shows of each hit, ready to be sent."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from graph_store.array_files import load_array, save_array
from graph_store.arrays import Int64Array
from graph_store.durable import fsync_dir, fsync_file, refusing_unwritable
from graph_store.errors import BadInput, CorruptFile
from graph_store.records import ImageRecord

_IDS, _OFFSETS, _FRAGMENTS = "ids.json", "offsets.npy", "fragments.bin"
_AT_ONCE = 4096


class RecordTable:
    """The ids, tags and attributes of a snapshot's images, by row, without a database.

    A fragment is a JSON object `{"tags": [{"name", "weight"}, …], "attributes": {…}}`, written once at
    reindex. The fragments lie one after the other in `fragments.bin`, which is memory-mapped; fragment i is
    offsets[i]:offsets[i + 1]. Reading needs no lock.
    """

    def __init__(self, ids: tuple[str, ...], offsets: Int64Array, fragments: mmap.mmap | bytes) -> None:
        self.ids = ids
        self._offsets = offsets
        self._fragments = fragments

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(self.ids)}

    @staticmethod
    def write(directory: Path, fragments: Iterable[tuple[str, bytes]]) -> int:
        """Write the table of these ids and fragments, the i-th of which get row i, durably. Returns how many
        there were.

        Raises BadInput when an id comes twice; Unwritable.
        """
        ids: dict[str, None] = {}
        offsets = [0]
        with refusing_unwritable(directory):
            directory.mkdir(parents=True, exist_ok=True)
            with (directory / _FRAGMENTS).open("wb") as file:
                waiting: list[bytes] = []
                for image_id, fragment in fragments:
                    if image_id in ids:
                        raise BadInput(f"The image id {image_id!r} comes twice")
                    ids[image_id] = None
                    waiting.append(fragment)
                    offsets.append(offsets[-1] + len(fragment))
                    if len(waiting) == _AT_ONCE:
                        file.write(b"".join(waiting))
                        waiting.clear()
                file.write(b"".join(waiting))
            save_array(directory / _OFFSETS, np.array(offsets, np.int64))
            (directory / _IDS).write_bytes(orjson.dumps(list(ids)))
            for name in (_FRAGMENTS, _OFFSETS, _IDS):
                fsync_file(directory / name)
            fsync_dir(directory)
        return len(ids)

    @classmethod
    def open(cls, directory: Path, ids: tuple[str, ...] | None = None) -> RecordTable:
        """Map a table. ids: its ids, where they are in memory already. Raises CorruptFile when its files do
        not fit together.
        """
        ids_path, fragments_path = directory / _IDS, directory / _FRAGMENTS
        offsets = np.asarray(load_array(directory / _OFFSETS), dtype=np.int64)
        try:
            if ids is None:
                ids = tuple(orjson.loads(ids_path.read_bytes()))
                if len(set(ids)) != len(ids):
                    raise ValueError("an id comes twice")
            with fragments_path.open("rb") as file:
                size = fragments_path.stat().st_size
                fragments = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        except FileNotFoundError as error:
            raise CorruptFile(f"The file {error.filename} is missing", path=Path(error.filename)) from error
        except ValueError as error:
            raise CorruptFile(f"The list of ids {ids_path} cannot be read", path=ids_path) from error
        fits = len(offsets) == len(ids) + 1 and offsets[0] == 0 and offsets[-1] == size
        if not fits or bool(np.any(np.diff(offsets) < 0)):
            raise CorruptFile(f"The records in {directory} do not fit together", path=directory)
        return cls(ids, offsets, fragments)

    def __len__(self) -> int:
        return len(self.ids)

    def row_of(self, image_id: str) -> int | None:
        """The row of an image, None when the table does not have it."""
        return self._rows.get(image_id)

    def fragment(self, row: int) -> bytes:
        """The JSON object of one row, as written."""
        if not 0 <= row < len(self.ids):
            raise IndexError(f"row {row} is outside [0, {len(self.ids)})")
        return self._fragments[int(self._offsets[row]) : int(self._offsets[row + 1])]

    def fragments(self, rows: Sequence[int]) -> list[bytes]:
        """The JSON objects of several rows, as written."""
        if not rows:
            return []
        if not 0 <= min(rows) <= max(rows) < len(self.ids):
            raise IndexError(f"rows {min(rows)} to {max(rows)} are not all inside [0, {len(self.ids)})")
        places = np.asarray(rows, dtype=np.int64)
        starts, stops = self._offsets[places].tolist(), self._offsets[places + 1].tolist()
        data = self._fragments
        return [data[start:stop] for start, stop in zip(starts, stops, strict=True)]

    def record(self, row: int) -> dict[str, Any]:
        """`{"id", "tags", "attributes"}` of one row, decoded."""
        fragment = orjson.loads(self.fragment(row))
        return {"id": self.ids[row], **fragment}


def fragment_of(record: ImageRecord) -> bytes:
    """What a hit shows of a record, as JSON."""
    tags = [{"name": tag.name, "weight": tag.weight} for tag in record.tags]
    return orjson.dumps({"tags": tags, "attributes": record.attributes})
