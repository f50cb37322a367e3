"""Room on the disk for arrays that a long job needs while it runs and that memory has no room for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graph_store.durable import refusing_unwritable


@contextmanager
def scratch_room(folder: Path, *, needed: bool) -> Iterator[Path | None]:
    """`folder`, empty, which goes with the block; None where it is not `needed`. What a killed run left there
    goes first either way, or when the data directory is tidied up, where it is named `.*.tmp` below models/.
    Raises Unwritable.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not needed:
        yield None
        return
    with refusing_unwritable(folder):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
