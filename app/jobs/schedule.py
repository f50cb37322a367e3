"""When a server reindexes by itself: when enough has changed, or when the index is old enough."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.jobs.job import Job
from app.settings import Settings

RETRY_AFTER = timedelta(minutes=10)
"""So long nothing is started by itself after a reindex that failed or was canceled."""


@dataclass(frozen=True)
class IndexAge:
    """What the snapshot, made at `created`, is behind by: `changed` images since then, of `indexed`."""

    changed: int
    indexed: int
    created: datetime


@dataclass(frozen=True)
class Schedule:
    """`delta_share`: changed images as a share of the indexed; `every`: between reindexes. Zero is off."""

    delta_share: float
    every: timedelta

    @property
    def on(self) -> bool:
        """Whether it ever starts anything."""
        return self.delta_share > 0 or self.every > timedelta()

    def due(self, now: datetime, age: IndexAge, last: Job | None) -> bool:
        """Whether to reindex now. `last` is the newest reindex in the history, in whichever state."""
        if last is not None and (last.active or _failed_lately(last, now)):
            return False
        if self.delta_share > 0 and 0 < self.delta_share * age.indexed <= age.changed:
            return True
        if self.every <= timedelta():
            return False
        # A reindex that found nothing new has left the old snapshot in its place. What is stamped with a time
        # that has not come was made before the clock was set back: how long ago, nobody knows.
        made = [age.created, *([] if last is None else [datetime.fromisoformat(last.created)])]
        known = [moment for moment in made if moment <= now]
        return not known or now - max(known) >= self.every


def schedule_of(settings: Settings) -> Schedule:
    """What the settings say; a replica never reindexes."""
    if settings.replica:
        return Schedule(0.0, timedelta())
    return Schedule(settings.reindex_delta_share, timedelta(hours=settings.reindex_every_hours))


def _failed_lately(last: Job, now: datetime) -> bool:
    if last.state == "succeeded" or last.ended is None:
        return False
    return timedelta() <= now - datetime.fromisoformat(last.ended) < RETRY_AFTER
