"""Copies of the data directories that all tests share, to be changed."""

from __future__ import annotations

import shutil
from pathlib import Path


def copy_of(root: Path, folder: Path) -> Path:
    """`folder`, with what is in `root`, which is read only but may be served by another worker meanwhile.

    SQLite keeps files beside its database for as long as somebody has it open. They come and go while the
    directory is copied, and hold nothing that is needed: nobody changes what is shared.
    """
    shutil.copytree(root, folder, ignore=shutil.ignore_patterns("*-wal", "*-shm"), dirs_exist_ok=True)
    return folder
