"""Interrupting a training where a user would: between two epochs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graph_store.progress import Advance


class StopAfter:
    """A Progress that interrupts training after so many epochs."""

    def __init__(self, epochs: int) -> None:
        self._left = epochs

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        def advance(steps: int) -> None:
            if name == "train" and steps:
                self._left -= steps
                if self._left == 0:
                    raise KeyboardInterrupt

        yield advance
