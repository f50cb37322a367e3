"""A job: what is to be done, how far it is, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["reindex", "train"]
State = Literal["enqueued", "processing", "succeeded", "failed", "canceled"]
Trigger = Literal["request", "schedule"]

KINDS: tuple[Kind, ...] = ("reindex", "train")
STATES: tuple[State, ...] = ("enqueued", "processing", "succeeded", "failed", "canceled")
ACTIVE: tuple[State, ...] = ("enqueued", "processing")
START_PHASE = "start"
"""The phase before the first that the work itself names: its process starts and reads the catalogue."""


def utc_now() -> datetime:
    """The time, for what people read and for schedules; the order of jobs does not depend on it."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Order:
    """What somebody wants done. `parameters` are those of the kind, all given."""

    kind: Kind
    parameters: Mapping[str, Any]
    trigger: Trigger = "request"
    resumed_from: str | None = None

    def same_work(self, job: Job) -> bool:
        """Whether the job was made from an order like this one."""
        return (self.kind, dict(self.parameters), self.resumed_from) == (
            job.kind,
            dict(job.parameters),
            job.resumed_from,
        )


@dataclass(frozen=True)
class JobProgress:
    """`done` of `total` (None: not known beforehand) in the running phase; `seconds_left` until the job
    ends.
    """

    phase: str = START_PHASE
    done: int = 0
    total: int | None = None
    skipped: int = 0
    failed: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True)
class Job:
    """One row of the history. `revision` grows with every change, `number` with every job."""

    number: int
    id: str
    kind: Kind
    parameters: Mapping[str, Any]
    state: State
    created: str
    started: str | None = None
    ended: str | None = None
    trigger: Trigger = "request"
    resumed_from: str | None = None
    cancel_requested: bool = False
    interrupted: bool = False
    error: Mapping[str, str] | None = None
    result: Mapping[str, Any] | None = None
    progress: JobProgress = field(default_factory=JobProgress)
    revision: int = 1

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state in ACTIVE

    @property
    def resumable(self) -> bool:
        """Whether it ended with something left to do."""
        return self.state in ("failed", "canceled")

    def to_dict(self) -> dict[str, Any]:
        """The JSON that is answered."""
        progress = self.progress if self.active else replace(self.progress, seconds_left=None)
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "parameters": dict(self.parameters),
            "progress": asdict(progress),
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "trigger": self.trigger,
            "cancel_requested": self.cancel_requested,
            "interrupted": self.interrupted,
            "resumable": self.resumable,
            "resumed_from": self.resumed_from,
            "error": dict(self.error) if self.error is not None else None,
            "result": dict(self.result) if self.result is not None else None,
        }
