"""Pictures that were ingested from a source and are not in it any more."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from graph_store.catalog import Catalog


def gone_from(folder: Path, catalog: Catalog, seen: Collection[str]) -> dict[str, str]:
    """Path by id of ingested pictures whose file lay in `folder` or below and is there no more. Those of the
    ids that were `seen` in the source are not gone.
    """
    listed = catalog.ingested_below(os.path.join(folder, ""), but=seen)  # noqa: PTH118  # ends in a slash
    return {image_id: path for image_id, path in listed.items() if _is_gone(Path(path), folder)}


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
