"""A folder that holds a `tags.jsonl`: that list is what is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from app.images import FORMATS
from app.ingest.items import SourceItem
from app.ingest.sources.folder import FolderSource
from app.ingest.sources.jsonl import JsonlSource
from graph_store.errors import BadInput
from graph_store.records import Skip

LIST_NAME = "tags.jsonl"


class ListedFolder(JsonlSource):
    """What the `tags.jsonl` of a folder lists. `leave_out`, the data directory, may lie in the folder."""

    def __init__(self, root: Path, leave_out: Path | None = None) -> None:
        super().__init__(root / LIST_NAME)
        self._every = FolderSource(root, leave_out)
        self._named: set[str] = set()

    def __iter__(self) -> Iterator[SourceItem | Skip]:
        for item in super().__iter__():
            if isinstance(item, SourceItem) and item.image is not None:
                self._named.add(os.path.normpath(item.image))
            yield item

    @property
    def listing(self) -> Path:
        """The file that is read."""
        return self._path

    def unlisted(self) -> int | None:
        """How many files of the folder are named as pictures are and were not in the list, once that has been
        iterated over; None where the folder cannot be looked through. No file is opened.
        """
        from PIL import Image

        suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
        try:
            files = self._every.files()
        except BadInput:
            return None
        return sum(
            file.suffix.lower() in suffixes and os.path.normpath(file) not in self._named for file in files
        )
