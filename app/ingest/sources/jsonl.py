"""`tags.jsonl`: one JSON object a line for each image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from app.ingest.items import IS_ADDRESS, SourceItem, checked_item, is_address, is_text
from app.ingest.sources.lines import Lines, LineTooLong, count_lines
from graph_store.records import Skip

_KNOWN = {"image", "id", "tags", "split", "caption"}
_BOM = b"\xef\xbb\xbf"
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


class JsonlSource:
    """`{"image", "id"?, "tags", "split"?, "caption"?, any other key = attribute}`, one a line.

    `image` is relative to the file, or absolute. Without `id` it is the id. A row without `image` needs an
    `id`, and features brought along.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return self._path.parent

    def __iter__(self) -> Iterator[SourceItem | Skip]:
        with self._path.open("rb") as file:
            lines = Lines(file)
            while True:
                try:
                    text = next(lines)
                except StopIteration:
                    return
                except LineTooLong as error:
                    yield Skip(str(self._path), lines.number, str(error), "")
                    continue
                stripped = (text.removeprefix(_BOM) if lines.number == 1 else text).strip()
                if stripped:
                    yield parse_line(stripped, self._path, lines.number)

    def count(self) -> int:
        """How many lines have something on them."""
        with self._path.open("rb") as file:
            return count_lines(file)


def parse_line(text: bytes, path: Path, line: int) -> SourceItem | Skip:
    """One line of the file, which is not empty, as an item or as a reason why it is none. Never raises."""
    source = str(path)
    try:
        row = orjson.loads(text)
    except ValueError as error:
        return Skip(source, line, f"the line is not valid JSON: {error}", _shown(text))
    if _LONG_NUMBER.search(text):
        # orjson makes a float of what does not fit into 64 bits, and so another number, without a word.
        try:
            json.loads(text, parse_int=_checked_whole_number)
        except (ValueError, RecursionError) as error:
            return Skip(source, line, f"the line cannot be stored as it is: {error}", _shown(text))
    if not isinstance(row, dict):
        return Skip(source, line, "the line is not a JSON object", _shown(text))
    image, image_id = row.get("image"), row.get("id")
    if image is None and image_id is None:
        return Skip(source, line, 'there is neither an "image" nor an "id"', _shown(text))
    if image is not None and not (isinstance(image, str) and image and is_text(image)):
        return Skip(source, line, 'the "image" is not a path', str(image_id or _shown(text))[:200])
    if image is not None and is_address(image):
        return Skip(source, line, IS_ADDRESS, str(image_id or image)[:200])
    attributes: dict[str, Any] = {key: value for key, value in row.items() if key not in _KNOWN}
    return checked_item(
        source=source,
        line=line,
        image_id=image if image_id is None else image_id,
        image=None if image is None else path.parent / image,
        tags=row.get("tags"),
        split=row.get("split"),
        caption=row.get("caption"),
        attributes=attributes,
    )


def _checked_whole_number(digits: str) -> int:
    """Raises ValueError for one that an upsert refuses as well."""
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise ValueError(f"the whole number {digits[:30]} does not fit into 64 bits")
    return int(digits)


def _shown(text: bytes) -> str:
    return text[:80].decode("utf-8", errors="replace")
