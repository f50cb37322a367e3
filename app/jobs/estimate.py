"""How long a job still takes: the pace of its phase, and what the phases after it took last time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

_WINDOW_SECONDS = 60.0


class Pace:
    """How fast a phase goes, over its last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def look(self, now: float, done: int) -> None:
        """Note that at the time `now`, in seconds, so many items were done.

        The first look decides what counts as done before: a resumed phase begins with a leap that says
        nothing of its pace.
        """
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _WINDOW_SECONDS:
            self._seen.popleft()

    def seconds_for(self, items: int) -> float | None:
        """Seconds for so many more items; None while nothing was done since the first look."""
        if not self._seen:
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return items * (ended - began) / (last - first) if last > first else None


def seconds_left(
    phase: str, elapsed: float, at_this_pace: float | None, earlier: Sequence[tuple[str, float]]
) -> float | None:
    """Seconds until the job ends; None while there is nothing to go by.

    `elapsed`: seconds in this phase so far. `at_this_pace`: what the rest of the phase takes at its pace,
    None when that is not known yet. `earlier`: (name, seconds) of the phases of a job like this one; without
    them the phases to come are unknown and count nothing.
    """
    names = [name for name, _ in earlier]
    place = names.index(phase) if phase in names else None
    here = at_this_pace
    if here is None and place is not None:
        here = max(0.0, earlier[place][1] - elapsed)
    if here is None:
        return None
    return here + (sum(seconds for _, seconds in earlier[place + 1 :]) if place is not None else 0.0)
