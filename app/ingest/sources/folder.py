"""A folder of pictures: what its sub-folders are called, and the texts beside the pictures, are the tags."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from app.ingest.items import SourceItem, checked_item
from graph_store.errors import BadInput
from graph_store.exhaustion import exhausted
from graph_store.records import Skip

_SIDECAR = ".txt"
_LONGEST_SIDECAR = 2**20


class FolderSource:
    """Every file below `root` that is not hidden, in the order of its relative path, which is its id.

    `photo.txt` or `photo.jpg.txt` beside `photo.jpg` holds tags, one a line or between commas. A file that is
    no picture is found out when it is opened, and is then skipped by name; so is a folder that cannot be
    read, or that was read under another name. `leave_out`, the data directory, may lie among the pictures,
    and is passed over.
    """

    def __init__(self, root: Path, leave_out: Path | None = None) -> None:
        self._root, self._leave_out = root, leave_out

    @property
    def folder(self) -> Path:
        """The root."""
        return self._root

    def __iter__(self) -> Iterator[SourceItem | Skip]:
        yield from self._closed
        for relative in self._files:
            sidecar = self._sidecars.get(relative)
            if relative in self._sidecar_files:
                continue
            yield self._item(relative, sidecar)

    def files(self) -> list[Path]:
        """Every file that is not hidden, the texts beside pictures too. Raises BadInput when the folder
        cannot be read.
        """
        return [self._root / relative for relative in self._files]

    def count(self) -> int:
        """How many files and folders that are skipped there are, sidecars not counted."""
        return len(self._closed) + len(self._files) - len(self._sidecar_files)

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

    @property
    def _files(self) -> list[str]:
        return self._walked[0]

    @property
    def _closed(self) -> list[Skip]:
        """The folders that are skipped."""
        return self._walked[1]

    @cached_property
    def _walked(self) -> tuple[list[str], list[Skip]]:
        found: list[str] = []
        closed: list[Skip] = []

        def cannot_list(error: OSError) -> None:
            closed.append(self._closed_by(error))

        # A link may lead back up: each folder is read once, under its own name where that is below the root,
        # or else under the first of its links.
        done: dict[tuple[int, int], Path] = {}
        data = None
        if self._leave_out is not None and self._leave_out.is_dir():
            data = _identity(self._leave_out)
        tops = deque([str(self._root)])
        while tops:
            for folder, folders, files in os.walk(tops.popleft(), onerror=cannot_list):
                place = Path(folder).relative_to(self._root)
                try:
                    identity = _identity(Path(folder))
                except OSError as error:
                    cannot_list(error)
                    folders.clear()
                    continue
                if identity == data:
                    folders.clear()
                    continue
                if identity in done:
                    folders.clear()
                    # What leads back up would add nothing; any other name is a tag that is lost.
                    if done[identity] not in place.parents:
                        reason = f"this folder was read already as {done[identity].as_posix()}"
                        closed.append(Skip(folder, None, reason, place.as_posix()))
                    continue
                done[identity] = place
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                below = (Path(folder, name) for name in folders)
                tops.extend(str(path) for path in below if path.is_symlink())
                found += [(place / name).as_posix() for name in files if not name.startswith(".")]
        return sorted(found), sorted(closed, key=lambda skip: skip.item)

    def _closed_by(self, error: OSError) -> Skip:
        """Raises BadInput when it is the source itself that cannot be read, and Exhausted when that says
        nothing about the folder.
        """
        lacking = exhausted(error)
        if lacking is not None:
            raise lacking from error
        folder = Path(error.filename)
        if folder == self._root:
            raise BadInput(f"The folder {folder} cannot be read: {error.strerror}") from error
        reason = f"the folder cannot be read: {error.strerror}"
        return Skip(str(folder), None, reason, folder.relative_to(self._root).as_posix())

    @cached_property
    def _sidecars(self) -> dict[str, str]:
        """Picture → the text beside it."""
        # As cameras and old programs write it, IMG_1.TXT too is the text beside IMG_1.JPG; of two that differ
        # in that alone the one in small letters is, which sorts last.
        texts = {
            f"{name[: -len(_SIDECAR)]}{_SIDECAR}": name
            for name in self._files
            if name.lower().endswith(_SIDECAR)
        }
        pairs: dict[str, str] = {}
        for name in self._files:
            if name.lower().endswith(_SIDECAR):
                continue
            stem = str(Path(name).with_suffix("")) if Path(name).suffix else name
            for text in (f"{name}{_SIDECAR}", f"{stem}{_SIDECAR}"):
                if text in texts:
                    pairs[name] = texts[text]
                    break
        return pairs

    @cached_property
    def _sidecar_files(self) -> set[str]:
        return set(self._sidecars.values())


def _identity(folder: Path) -> tuple[int, int]:
    """What tells a folder from all others, by whatever name it is reached."""
    status = folder.stat()
    return status.st_dev, status.st_ino


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
