"""Single arrays as `.npy` files, written durably and read as memory maps. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from graph_store.arrays import AnyArray, Float32Array
from graph_store.durable import refusing_unwritable
from graph_store.errors import CorruptFile
from graph_store.mapped_pages import copied_to, streamed

_ROWS_AT_ONCE = 8192


def save_array(path: Path, array: AnyArray) -> str | None:
    """Write one `.npy` file and wait until it is on the disk. Returns the SHA-256 of what was to be written,
    or None where the array is a map and the system copied it from file to file. Raises Unwritable, and
    ValueError for an array of objects.
    """
    if array.dtype.hasobject:
        raise ValueError(f"an array of {array.dtype} cannot be written without pickle")
    opening = io.BytesIO()
    described = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(opening, described | {"fortran_order": False})
    header = opening.getvalue()
    digest: Any = hashlib.sha256(header)
    with refusing_unwritable(path), path.open("wb") as file:
        file.write(header)
        file.flush()
        if copied_to(array, file.fileno(), len(header)):
            digest = None
        else:
            rows = array.reshape(1) if array.ndim == 0 else array
            # Through Python: numpy's own way drops the error when the last page does not fit.
            for start, stop in streamed(len(rows), _ROWS_AT_ONCE, rows):
                part = np.ascontiguousarray(rows[start:stop])
                file.write(part.data)
                digest.update(part.data)
            file.flush()
        os.fsync(file.fileno())
    return None if digest is None else str(digest.hexdigest())


def new_mapped_array(path: Path, shape: tuple[int, ...]) -> Float32Array:
    """A new `.npy` file of float32 zeros, mapped to be written to. Raises Unwritable when there is no room.

    All of its room is taken here: a page of a map that finds the disk full when it is written ends the whole
    process (SIGBUS), and no one could say why.
    """
    with refusing_unwritable(path):
        if 0 in shape:  # nothing can be mapped
            save_array(path, np.zeros(shape, np.float32))
            return np.zeros(shape, np.float32)
        try:
            with path.open("wb") as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "<f4", "fortran_order": False, "shape": shape}
                )
                size = file.tell() + 4 * math.prod(shape)
                file.truncate(size)
                file.flush()
                os.posix_fallocate(file.fileno(), 0, size)
            return np.lib.format.open_memmap(path, mode="r+")
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def write_rows(path: Path, start: int, rows: Float32Array) -> None:
    """Put `rows` at row `start` of a file of `new_mapped_array`, and wait until they are on the disk.

    Through the file and not through a map: several machines may write the parts of one file of a shared file
    system, where a map would carry back whole pages, its neighbour's end included. Raises Unwritable.
    """
    offset = int(getattr(load_array(path), "offset", 0)) + start * rows[:1].nbytes
    with refusing_unwritable(path), path.open("r+b") as file:
        file.seek(offset)
        file.write(np.ascontiguousarray(rows, dtype="<f4").data)
        file.flush()
        os.fsync(file.fileno())


def load_array(path: Path, mmap: bool = True) -> AnyArray:
    """Read one `.npy` file, as a read-only memory map unless `mmap` is False. Raises CorruptFile."""
    try:
        array: AnyArray = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except FileNotFoundError as error:
        raise CorruptFile(f"The file {path} is missing", path=path) from error
    except (ValueError, EOFError, SyntaxError) as error:
        raise CorruptFile(f"The file {path} is not a whole .npy file", path=path) from error
    return array
