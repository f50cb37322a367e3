"""Progress bars on a terminal, and silence elsewhere: a log file or a pipe is not filled with moving bars."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from graph_store.progress import Advance, Progress, SilentProgress


class RichProgress:
    """One line a phase, drawn on standard error: name, bar, done of total, elapsed and remaining time.

    A finished phase keeps its line, so that what was done stays readable. Phases may lie inside each other.
    """

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=False, compact=True),
            console=console,
        )
        self._open_phases = 0

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Draws the phase `name` until the block ends. The bar moves when its function is called."""
        if self._open_phases == 0:
            self._bars.start()
        self._open_phases += 1
        task = self._bars.add_task(name, total=total)
        try:
            yield lambda done: self._bars.advance(task, done)
            completed = self._bars.tasks[self._bars.task_ids.index(task)].completed
            # The end of the block is the end of the phase: an unknown total becomes what was done.
            self._bars.update(task, total=max(completed, 1), completed=max(completed, 1))
        finally:
            self._open_phases -= 1
            if self._open_phases == 0:
                self._bars.stop()
                for finished in list(self._bars.task_ids):
                    # Its line stays on the terminal; without this the next phase would draw it again.
                    self._bars.remove_task(finished)


def terminal_progress() -> Progress:
    """Bars when standard error is a terminal, else silence."""
    if not sys.stderr.isatty():
        return SilentProgress()
    return RichProgress(Console(stderr=True))
