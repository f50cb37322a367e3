"""FAISS indexes on the disk: written so that nothing is lost unseen, read with errors that name the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from graph_store.durable import fsync_dir, refusing_unwritable
from graph_store.errors import CorruptFile
from graph_store.exhaustion import refused_by_the_system
from graph_store.faiss_api import faiss


def read_index(path: Path, *, mapped: bool = True) -> Any:
    """The index in a file, its arrays mapped where FAISS can map them, or all in memory, where it may be
    changed. Raises CorruptFile when it is missing or cut short, and Exhausted.

    FAISS loads most altered files without a word: take the file from a snapshot, which checks it.
    """
    if not path.is_file():
        raise CorruptFile(f"The index {path} is missing", path=path)
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if mapped else 0)
    except (RuntimeError, MemoryError) as error:
        lacking = refused_by_the_system(error)
        if lacking is not None:
            raise lacking from error
        raise CorruptFile(f"The index {path} cannot be read", path=path) from error


def write_index(index: Any, path: Path, *, vectors: bool = True) -> None:
    """Write the index durably, an HNSW index also without its vectors. Raises Unwritable."""
    # FAISS's own file writer drops an error on closing; through this one a full disk is seen.
    with refusing_unwritable(path):
        with path.open("wb") as file:
            faiss.write_index(
                index, faiss.PyCallbackIOWriter(file.write), 0 if vectors else faiss.IO_FLAG_SKIP_STORAGE
            )
            file.flush()
            os.fsync(file.fileno())
        fsync_dir(path.parent)
