"""Lines of a file that may be anything: no more of one is read than a line of a source can sensibly have."""

from __future__ import annotations

from typing import IO, AnyStr, Generic, Self

LONGEST_LINE = 16 * 2**20
"""Bytes, or characters of a text. A row with ten thousand tags has a tenth of that."""


class LineTooLong(ValueError):
    """The line is longer than LONGEST_LINE; the next one can be read all the same."""


class Lines(Generic[AnyStr]):
    """Each line with its end; `number` counts them, from 1. A line that is too long raises LineTooLong."""

    def __init__(self, file: IO[AnyStr]) -> None:
        self._file: IO[AnyStr] = file
        self.number = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> AnyStr:
        line: AnyStr = self._file.readline(LONGEST_LINE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) <= LONGEST_LINE:
            return line
        while line and not _ends(line):
            line = self._file.readline(LONGEST_LINE)
        raise LineTooLong(f"the line is longer than {LONGEST_LINE:,} characters")


def _ends(line: str | bytes) -> bool:
    return line.endswith(("\n", "\r")) if isinstance(line, str) else line.endswith(b"\n")


def count_lines(file: IO[bytes]) -> int:
    """About how many lines hold something: one that is too long may count more than once."""
    return sum(1 for line in iter(lambda: file.readline(LONGEST_LINE), b"") if line.strip())
