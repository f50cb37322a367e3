"""A folder of pictures: what its sub-folders are called, and the texts beside the pictures, are the tags."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from app.ingest.items import SourceItem, checked_item
from graph_store.errors import BadInput
from graph_store.records import Skip

_SIDECAR = ".txt"
_LONGEST_SIDECAR = 2**20


class FolderSource:
    """Every file below `root` that is not hidden, in the order of its relative path, which is its id.

    `photo.txt` or `photo.jpg.txt` beside `photo.jpg` holds tags, one a line or between commas. A file that is
    no picture is found out when it is opened, and is then skipped by name.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __iter__(self) -> Iterator[SourceItem | Skip]:
        for relative in self._files:
            sidecar = self._sidecars.get(relative)
            if relative in self._sidecar_files:
                continue
            yield self._item(relative, sidecar)

    def count(self) -> int:
        """How many files there are, sidecars not counted."""
        return len(self._files) - len(self._sidecar_files)

    def _item(self, relative: str, sidecar: str | None) -> SourceItem | Skip:
        path = self._root / relative
        tags = [part for part in Path(relative).parent.parts if part.strip()]
        if sidecar is not None:
            try:
                tags += _tags_of(self._root / sidecar)
            except BadInput as error:
                return Skip(str(self._root / sidecar), None, error.message, relative)
        item = checked_item(source=str(path), line=None, image_id=relative, image=path, tags=list(tags))
        return item if isinstance(item, Skip) else replace(item, embedded_keywords=True)

    @cached_property
    def _files(self) -> list[str]:
        found: list[str] = []
        visited: set[tuple[int, int]] = set()
        for folder, folders, files in os.walk(self._root, onerror=_cannot_list, followlinks=True):
            place = Path(folder).relative_to(self._root)
            status = Path(folder).stat()
            # A link may lead back up: each folder is read once, under the first of its names.
            if (status.st_dev, status.st_ino) in visited:
                folders.clear()
                continue
            visited.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [(place / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(found)

    @cached_property
    def _sidecars(self) -> dict[str, str]:
        """Picture → the text beside it."""
        texts = {name for name in self._files if name.lower().endswith(_SIDECAR)}
        pairs: dict[str, str] = {}
        for name in self._files:
            if name in texts:
                continue
            stem = str(Path(name).with_suffix("")) if Path(name).suffix else name
            for text in (f"{name}{_SIDECAR}", f"{stem}{_SIDECAR}"):
                if text in texts:
                    pairs[name] = text
                    break
        return pairs

    @cached_property
    def _sidecar_files(self) -> set[str]:
        return set(self._sidecars.values())


def _cannot_list(error: OSError) -> None:
    raise BadInput(f"The folder {error.filename} cannot be read: {error.strerror}") from error


def _tags_of(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_SIDECAR + 1)
    except OSError as error:
        raise BadInput(f"the tags beside the picture cannot be read: {error.strerror}") from error
    if len(data) > _LONGEST_SIDECAR:
        raise BadInput("the tags beside the picture are more than 1 MiB of text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput("the tags beside the picture are not UTF-8 text") from error
    return [tag.strip() for tag in re.split(r"[,\r\n]", text) if tag.strip()]
