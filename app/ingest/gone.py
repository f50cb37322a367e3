"""Pictures that were ingested from a source and are not in it any more."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from graph_store.catalog import Catalog
from graph_store.progress import Progress

_FOLDERS_IN_HAND = 16
"""Of so many the names are kept. Pictures come in the order in which they were ingested, which goes through
one folder after the other.
"""


def gone_from(folder: Path, catalog: Catalog, seen: Collection[str], progress: Progress) -> dict[str, str]:
    """Path by id of ingested pictures whose file lay in `folder` or below and is there no more. Those of the
    ids that were `seen` in the source are not gone.
    """
    listed = catalog.ingested_below(os.path.join(folder, ""), but=seen)  # noqa: PTH118  # ends in a slash
    if not listed:
        return {}
    gone: dict[str, str] = {}
    # A folder is listed once: to ask for each file takes an hour for millions of them over a network.
    names_in = lru_cache(_FOLDERS_IN_HAND)(_names_in)
    with progress.phase("Looking for what is gone", len(listed)) as advance:
        for image_id, path in listed.items():
            above, name = os.path.split(path)
            if name not in names_in(above) and _is_gone(Path(path), folder):
                gone[image_id] = path
            advance(1)
    return gone


def _names_in(folder: str) -> frozenset[str]:
    """What is in a folder; nothing where that cannot be told."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except (OSError, ValueError):
        return frozenset()


def _is_gone(path: Path, folder: Path) -> bool:
    """Whether a file was removed. One that cannot be reached, or only through a link to what is not there now
    (a disk that is not mounted), may come back.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        above = [parent for parent in path.parents if parent != folder and parent.is_relative_to(folder)]
        return not any(map(_leads_nowhere, above))
    except (OSError, ValueError):
        return False
    return False


def _leads_nowhere(folder: Path) -> bool:
    """Whether this is a link to what cannot be reached now."""
    try:
        folder.stat()
    except OSError:
        return folder.is_symlink()
    return False
