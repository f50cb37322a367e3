"""SHA-256 of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_MOST_THREADS = 4
"""More read no faster than a disk gives."""


def sha256_of_bytes(data: bytes) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """64 hexadecimal digits; the file is read in pieces, so its size does not matter."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        error.filename = error.filename or str(path)  # of reading, unlike opening, it is not said
        raise


def sha256_of_files(paths: Sequence[Path]) -> Iterator[str]:
    """The same of several files, in their order; as many are read at once as there are cores, up to four.
    Raises what reading raises, at the place of the file.
    """
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        yield from pool.map(sha256_of_file, paths)
