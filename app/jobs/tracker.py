"""What a job says of its progress, kept for whoever writes it down, and where it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from app.jobs.estimate import Pace, seconds_left
from app.jobs.job import START_PHASE, JobProgress
from graph_store.progress import Advance

StopReason = Literal["canceled", "interrupted"]


class Stopped(BaseException):
    """The job was told to stop. Not an Exception: no work shall take it for its own failure and go on."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason)
        self.reason = reason


class Tracker:
    """The `Progress` of a job. The work reports from its thread, `progress` is asked from another.

    After `stop` the next report raises Stopped in the work's thread: between two items, never in the middle
    of a file's renaming. A phase inside another is not shown.
    """

    def __init__(
        self,
        earlier: Sequence[tuple[str, float]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._earlier = earlier
        self._clock = clock
        self._guard = threading.Lock()
        self._stop: StopReason | None = None
        self._why: str | None = None
        self._depth = 0
        self._phases: list[tuple[str, float]] = []
        self._begin(START_PHASE, None)

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """A phase of the work. Until the next one begins it stays the phase that is shown."""
        self._check()
        outer = self._depth == 0
        self._depth += 1
        if outer:
            with self._guard:
                self._close_phase()
                self._begin(name, total)

        def advance(done: int) -> None:
            if outer:
                with self._guard:
                    self._done += done
            self._check()

        try:
            yield advance
        finally:
            self._depth -= 1

    def stop(self, reason: StopReason, why: str | None = None) -> None:
        """Tell the work to stop, and why, where that is known; the first reason counts."""
        if self._stop is None:
            self._stop, self._why = reason, why

    @property
    def stop_reason(self) -> StopReason | None:
        """For what reason it was told to stop."""
        return self._stop

    @property
    def why_stopped(self) -> str | None:
        """What it was told with the reason."""
        return self._why

    def progress(self) -> JobProgress:
        """How far it is now, with an estimate of the seconds left."""
        with self._guard:
            now = self._clock()
            self._pace.look(now, self._done)
            rest = None if self._total is None else self._pace.seconds_for(max(0, self._total - self._done))
            left = seconds_left(self._phase, now - self._began, rest, self._earlier)
            return JobProgress(
                phase=self._phase,
                done=self._done,
                total=self._total,
                seconds_left=None if left is None else round(left, 1),
            )

    def phases(self) -> list[tuple[str, float]]:
        """(name, seconds) of the phases so far, the running one included."""
        with self._guard:
            return [*self._phases, (self._phase, round(self._clock() - self._began, 3))]

    def _check(self) -> None:
        if self._stop is not None:
            raise Stopped(self._stop)

    def _begin(self, name: str, total: int | None) -> None:
        self._phase, self._total, self._done = name, total, 0
        self._began = self._clock()
        self._pace = Pace()

    def _close_phase(self) -> None:
        self._phases.append((self._phase, round(self._clock() - self._began, 3)))
