"""How long work tells the outside how far it is, without knowing whether anybody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of items done since the last call."""


class Progress(Protocol):
    """A place to report phases to; entering a phase gives the function that advances it."""

    def phase(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Start the phase `name` of `total` items (None: not known beforehand)."""


class SilentProgress:
    """Reports nothing: for tests, services and output that is not a terminal."""

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Accept and drop every report."""

        def advance(done: int) -> None:
            del done

        yield advance
