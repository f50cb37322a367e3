"""CSV: one row for each image, with the columns `image` and `tags`."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.ingest.items import SourceItem, checked_item, is_text
from app.ingest.sources.lines import Lines, LineTooLong, count_lines
from graph_store.errors import BadInput
from graph_store.records import Skip

_KNOWN = {"image", "id", "tags", "split", "caption"}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")


class CsvSource:
    """A header with `image` and, if wanted, `tags`, `id`, `split`, `caption`; other columns are attributes.

    Tags are split on `|` and on `,`. `image` is relative to the file, or absolute, and without an `id` it is
    the id. An attribute that is written as a plain number is one, so that it can be filtered by range.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[SourceItem | Skip]:
        # Bytes that are no UTF-8 become lone surrogates here, and their row is then skipped by name.
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = Lines(file)
            reader = csv.reader(lines, strict=True)
            header = self._header(reader)
            while True:
                line = lines.number + 1
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except (csv.Error, LineTooLong) as error:
                    yield Skip(str(self._path), line, f"the row is not valid CSV: {error}", "")
                    continue
                if any(cell.strip() for cell in row):
                    yield parse_row(header, row, self._path, line)

    def count(self) -> int:
        """How many lines there are below the header; a cell with line breaks counts more than once."""
        with self._path.open("rb") as file:
            return max(0, count_lines(file) - 1)

    def _header(self, reader: Iterator[list[str]]) -> list[str]:
        try:
            header = [name.strip() for name in next(reader, [])]
        except (csv.Error, LineTooLong) as error:
            raise BadInput(f"The header of {self._path} is not valid CSV: {error}") from error
        lowered = [name.lower() if name.lower() in _KNOWN else name for name in header]
        if "image" not in lowered and "id" not in lowered:
            raise BadInput(
                f"The first line of {self._path} does not name a column 'image'",
                hint="Begin with the line: image,tags",
            )
        if len(set(lowered)) != len(lowered):
            raise BadInput(f"The first line of {self._path} names a column twice")
        return lowered


def parse_row(header: Sequence[str], row: Sequence[str], path: Path, line: int) -> SourceItem | Skip:
    """One row under `header` as an item, or as a reason why it is none. Never raises."""
    source = str(path)
    shown = ",".join(row)[:80].encode("utf-8", errors="replace").decode()
    if len(row) > len(header):
        reason = f"the row has {len(row)} cells under {len(header)} columns; a cell with commas needs quotes"
        return Skip(source, line, reason, shown)
    if not all(map(is_text, row)):
        return Skip(source, line, "the row is not UTF-8 text, or holds a NUL character", shown)
    cells = dict(zip(header, row, strict=False))
    image, image_id = cells.get("image", "").strip(), cells.get("id", "").strip()
    if not image and not image_id:
        return Skip(source, line, "there is neither an image nor an id", shown)
    return checked_item(
        source=source,
        line=line,
        image_id=image_id or image,
        image=path.parent / image if image else None,
        tags=[tag.strip() for tag in re.split(r"[|,]", cells.get("tags", "")) if tag.strip()],
        split=cells.get("split", "").strip(),
        caption=cells.get("caption", "").strip(),
        attributes={
            name: _number_or_text(cell)
            for name, cell in cells.items()
            if name and name not in _KNOWN and cell
        },
    )


def _number_or_text(cell: str) -> str | int | float:
    text = cell.strip()
    if not _NUMBER.fullmatch(text):
        return cell
    return float(text) if "." in text else int(text)
