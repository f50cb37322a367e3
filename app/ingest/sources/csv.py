"""CSV: one row for each image, with the columns `image` and `tags`."""

from __future__ import annotations

import codecs
import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from app.ingest.items import IS_ADDRESS, SourceItem, checked_item, is_address, is_text
from app.ingest.sources.lines import Lines, LineTooLong, count_lines
from graph_store.errors import BadInput
from graph_store.records import Skip

_KNOWN = {"image", "id", "tags", "split", "caption"}
_ONE_LINE = ("image", "id", "tags", "split")
_DELIMITERS = (",", ";", "\t")
"""What may stand between cells. Spreadsheets write semicolons where a comma is in the numbers."""
_NAMED_DELIMITER = re.compile(r'"?sep=([,;\t])"?\s*')
"""A line above the header by which Excel is told."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NO_TEXT = "imsage.no_text"
"""How bytes that are no text are read: as a lone surrogate, so that their row is skipped by name. Python's
own way to do so fails on UTF-16 that was cut inside a character.
"""
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?")


def _no_text(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error(_NO_TEXT, _no_text)


class CsvSource:
    """A header with `image` and, if wanted, `tags`, `id`, `split`, `caption`; other columns are attributes.

    Between cells are commas, or semicolons or tabulators where the header has them. The text is UTF-8, or
    UTF-16 where its first bytes say so. Tags are split on `|` and on `,`. `image` is relative to the file, or
    absolute, and without an `id` it is the id. An attribute that is written as a plain number is one, so that
    it can be filtered by range.

    A quote that is not closed takes the lines below it into its cell, up to the next quote. Where that shows,
    its own line is skipped by name and those below are read as rows. Captions and attributes may have line
    breaks, unless one of their lines reads as the row of a picture that is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return self._path.parent

    def __iter__(self) -> Iterator[SourceItem | Skip]:
        encoding = "utf-16" if self._is_utf16 else "utf-8-sig"
        with self._path.open(encoding=encoding, errors=_NO_TEXT, newline="") as file:
            lines = _RowLines(Lines(file))
            delimiter = _delimiter(lines)
            reader = csv.reader(lines, strict=True, delimiter=delimiter)
            header = self._header(reader, lines, delimiter)
            while True:
                lines.begin_row()
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except (csv.Error, LineTooLong) as error:
                    wrong = _unclosed(lines.first) if lines.several else f"the row is not valid CSV: {error}"
                    yield self._first_line_skipped(lines, wrong)
                    continue
                if lines.below and self._has_swallowed(header, row, lines.below, delimiter):
                    yield self._first_line_skipped(lines, _unclosed(lines.first))
                elif any(cell.strip() for cell in row):
                    yield parse_row(header, row, self._path, lines.first, delimiter)

    def count(self) -> int:
        """How many lines there are below the header; a cell with line breaks counts more than once."""
        with self._path.open("rb") as file:
            return max(0, count_lines(file) - 1)

    @property
    def _is_utf16(self) -> bool:
        with self._path.open("rb") as file:
            return file.read(2) in _UTF16

    def _first_line_skipped(self, lines: _RowLines, reason: str) -> Skip:
        """What is said of the first line of a row; the lines below it are read again."""
        lines.give_back()
        return Skip(str(self._path), lines.first, reason, _shown(lines.text))

    def _has_swallowed(
        self, header: Sequence[str], row: Sequence[str], below: Sequence[str], delimiter: str
    ) -> bool:
        """Whether the lines below the first one of a row are not just more text of its cells."""
        cells = dict(zip(header, row, strict=False))
        if any(re.search(r"[\r\n]", cells.get(name, "").strip()) for name in _ONE_LINE):
            return True
        return "image" in header and any(self._is_row_of_a_picture(header, line, delimiter) for line in below)

    def _is_row_of_a_picture(self, header: Sequence[str], line: str, delimiter: str) -> bool:
        try:
            row, place = next(csv.reader([line], delimiter=delimiter), []), header.index("image")
            # As in a row: cells may be missing at its end. One cell alone is what any line of a text is.
            image = row[place].strip() if 1 < len(row) <= len(header) and place < len(row) else ""
            return bool(image) and (self._path.parent / image).is_file()
        except (csv.Error, OSError, ValueError):
            return False

    def _header(self, reader: Iterator[list[str]], lines: _RowLines, delimiter: str) -> list[str]:
        try:
            header = [name.strip() for name in next(reader, [])]
        except (csv.Error, LineTooLong) as error:
            raise BadInput(f"The header of {self._path} is not valid CSV: {error}") from error
        if not all(map(is_text, header)):
            raise BadInput(
                f"The header of {self._path} is not UTF-8 text",
                hint="Save the file as UTF-8; spreadsheets call that 'CSV UTF-8'.",
            )
        lowered = [name.lower() if name.lower() in _KNOWN else name for name in header]
        if "image" not in lowered and "id" not in lowered:
            raise BadInput(
                f"The first line of {self._path} does not name a column 'image'",
                hint="Begin with the line: image,tags",
            )
        if lines.below and any(self._is_row_of_a_picture(lowered, line, delimiter) for line in lines.below):
            raise BadInput(
                f"A quote is not closed on the first line of {self._path}", hint="Close it, or take it out."
            )
        named = [name for name in lowered if name]  # spreadsheets write empty columns at the right edge
        if len(set(named)) != len(named):
            raise BadInput(f"The first line of {self._path} names a column twice")
        return lowered


def _delimiter(lines: _RowLines) -> str:
    """What stands between the cells, as the header tells; a comma where it tells nothing. A line above it
    that says so is taken off.
    """
    first = lines.peek()
    named = _NAMED_DELIMITER.fullmatch(first)
    if named:
        next(lines)
        lines.begin_row()
        return named[1]
    for delimiter in _DELIMITERS:
        try:
            names = next(csv.reader([first], delimiter=delimiter), [])
        except csv.Error:
            continue
        if {"image", "id"} & {name.strip().lower() for name in names}:
            return delimiter
    return _DELIMITERS[0]


class _RowLines:
    """Lines for a csv.reader. `first` is the number of the line on which the row in hand begins."""

    def __init__(self, lines: Lines[str]) -> None:
        self._lines = lines
        self._row: list[str | LineTooLong] = []
        self._again: deque[str | LineTooLong] = deque()
        self.first = 1

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        self._row.append(line)
        if isinstance(line, LineTooLong):
            raise line
        return line

    def _read(self) -> str | LineTooLong:
        try:
            return next(self._lines)
        except LineTooLong as error:
            return error

    def begin_row(self) -> None:
        """What is read from here on is another row."""
        self.first += len(self._row)
        self._row.clear()

    def peek(self) -> str:
        """The next line, which stays the next; empty where there is none or it is too long."""
        try:
            line = next(self)
        except (StopIteration, LineTooLong):
            line = ""
        self._again.extendleft(reversed(self._row))
        self._row.clear()
        return line

    @property
    def text(self) -> str:
        """The first line of the row."""
        return "" if not self._row or isinstance(self._row[0], LineTooLong) else self._row[0]

    @property
    def several(self) -> bool:
        """Whether the row has more than one line."""
        return len(self._row) > 1

    @property
    def below(self) -> list[str]:
        """The lines of the row below the first one."""
        return [line for line in self._row[1:] if isinstance(line, str)]

    def give_back(self) -> None:
        """Read the lines below the first one again, as rows of their own."""
        self._again.extendleft(reversed(self._row[1:]))
        del self._row[1:]


def parse_row(
    header: Sequence[str], row: Sequence[str], path: Path, line: int, delimiter: str = ","
) -> SourceItem | Skip:
    """One row under `header` as an item, or as a reason why it is none. Never raises."""
    source = str(path)
    shown = _shown(delimiter.join(row))
    if len(row) > len(header):
        reason = (
            f"the row has {len(row)} cells under {len(header)} columns; a cell that holds {delimiter!r}"
            " needs quotes"
        )
        return Skip(source, line, reason, shown)
    if not all(map(is_text, row)):
        return Skip(source, line, "the row is not UTF-8 text, or holds a NUL character", shown)
    cells = dict(zip(header, row, strict=False))
    image, image_id = cells.get("image", "").strip(), cells.get("id", "").strip()
    if not image and not image_id:
        return Skip(source, line, "there is neither an image nor an id", shown)
    if is_address(image):
        return Skip(source, line, IS_ADDRESS, (image_id or image)[:200])
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


def _unclosed(line: int) -> str:
    return (
        f"a quote is not closed on line {line} (or an image, id, tags or split has a line break);"
        " the lines below are read as rows of their own"
    )


def _shown(text: str) -> str:
    return text[:80].encode("utf-8", errors="replace").decode().strip()
