"""FAISS indexes on the disk: written so that nothing is lost unseen, read with errors that name the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from graph_store.durable import fsync_dir, refusing_unwritable
from graph_store.errors import CorruptFile
from graph_store.exhaustion import refused_by_the_system
from graph_store.faiss_api import faiss


def read_index(path: Path) -> Any:
    """The index in a file, its vectors mapped where FAISS can map them. Raises CorruptFile when it is missing
    or cut short, and Exhausted.

    FAISS loads most altered files without a word: take the file from a snapshot, which checks it.
    """
    if not path.is_file():
        raise CorruptFile(f"The index {path} is missing", path=path)
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except (RuntimeError, MemoryError) as error:
        lacking = refused_by_the_system(error)
        if lacking is not None:
            raise lacking from error
        raise CorruptFile(f"The index {path} cannot be read", path=path) from error


def write_index(index: Any, path: Path) -> None:
    """Write the index durably. Raises Unwritable."""
    # FAISS's own file writer drops an error on closing; through this one a full disk is seen.
    with refusing_unwritable(path):
        with path.open("wb") as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
            file.flush()
            os.fsync(file.fileno())
        fsync_dir(path.parent)
