"""What the calls about jobs accept and answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.api.strict import WithoutNulls
from app.jobs.job import Kind, Order, State, Trigger
from gnn.presets import PRESETS, preset_named
from graph_store.errors import UnknownName


def _known(name: str) -> str:
    try:
        return preset_named(name).name
    except UnknownName as error:
        raise ValueError(str(error)) from error


PresetName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(PRESETS)})]


def _variant(name: str) -> str:
    """Of a known preset; whether one with these options was trained is found out when it is asked for."""
    _known(name.partition("+")[0])
    return name


VariantName = Annotated[str, AfterValidator(_variant), Field(max_length=300)]


_REINDEX_EXAMPLE: dict[str, Any] = {"kind": "reindex", "full": False}
_TRAIN_EXAMPLE: dict[str, Any] = {"kind": "train", "preset": "default", "seed": 0, "resume": False}


class ReindexRequest(WithoutNulls):
    """Embed the whole catalogue into a new snapshot and swap it in."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REINDEX_EXAMPLE]})

    kind: Literal["reindex"]
    full: bool = Field(
        False,
        description="Compute everything anew, also where neither catalogue nor model has changed. "
        "Without it, what a change does not reach is kept, and without any change the snapshot itself.",
    )
    preset: VariantName | None = Field(
        None,
        description="Whose trained model to use, by the preset's name, with the options it was trained with "
        "where there were any: `default+agreement=2`. Without it: the last one trained.",
    )

    def order(self) -> Order:
        """What is to be done."""
        return Order("reindex", {"full": self.full, "preset": self.preset})


class TrainRequest(WithoutNulls):
    """Train a model on the catalogue's graph. It is served after a reindex."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TRAIN_EXAMPLE]})

    kind: Literal["train"]
    preset: PresetName = Field("default", description="The model to train.")
    epochs: int | None = Field(
        None, ge=1, le=100_000, description="At most so many passes. Without it: the preset's own."
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="The same seed gives the same model.")
    resume: bool = Field(False, description="Go on from the last checkpoint.")

    def order(self) -> Order:
        """What is to be done."""
        return Order(
            "train",
            {"preset": self.preset, "epochs": self.epochs, "seed": self.seed, "resume": self.resume},
        )


REQUESTS: dict[Kind, type[ReindexRequest] | type[TrainRequest]] = {
    "reindex": ReindexRequest,
    "train": TrainRequest,
}

EXAMPLES: dict[Kind, dict[str, Any]] = {"reindex": _REINDEX_EXAMPLE, "train": _TRAIN_EXAMPLE}


class JobKind(BaseModel):
    """The one field that says which others there may be."""

    model_config = ConfigDict(extra="ignore", strict=True)

    kind: Kind


class JobsQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=1000, description="Most jobs in the answer.", examples=[20])
    kind: Kind | None = Field(None, description="Only jobs of this kind.", examples=["reindex"])
    state: State | None = Field(None, description="Only jobs in this state.", examples=["failed"])
    cursor: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="next_cursor of the answer before.",
        examples=["000012-5f0a9c3e"],
    )


class JobProgressAnswer(BaseModel):
    """How far a job is."""

    phase: str = Field(
        description="What is being done: start, then train's search and solve (or train; with preset hash "
        "then query views and 16-bit codes to 256-bit codes), reindex's similar, embed and write.",
        examples=["embed"],
    )
    done: int = Field(description="Items of the phase that are done.", examples=[41_000])
    total: int | None = Field(
        description="Items of the phase; null when not known beforehand.", examples=[100_000]
    )
    skipped: int = Field(
        description="Images that the new snapshot leaves out. Always 0: a reindex that would leave one out "
        "fails and names it in `error`.",
        examples=[0],
    )
    failed: int = Field(
        description="Images that could not be embedded. Always 0, for the same reason.", examples=[0]
    )
    seconds_left: float | None = Field(
        description="An estimate of the seconds until the job ends: its phase at its pace, and the phases "
        "after it as long as they took last time. Null while there is nothing to go by.",
        examples=[12.5],
    )


class JobErrorAnswer(BaseModel):
    """Why a job failed."""

    type: str = Field(description="As in a problem.", examples=["urn:imsage:problem:interrupted"])
    detail: str = Field(examples=["The server stopped while the job ran. Resume it to go on."])


_EXAMPLE: dict[str, Any] = {
    "id": "000012-5f0a9c3e",
    "kind": "reindex",
    "state": "processing",
    "parameters": {"full": False, "preset": None},
    "progress": {
        "phase": "embed",
        "done": 41_000,
        "total": 100_000,
        "skipped": 0,
        "failed": 0,
        "seconds_left": 12.5,
    },
    "created": "2026-01-31T09:15:02.113+00:00",
    "started": "2026-01-31T09:15:02.870+00:00",
    "ended": None,
    "trigger": "request",
    "cancel_requested": False,
    "interrupted": False,
    "resumable": False,
    "resumed_from": None,
    "error": None,
    "result": None,
}


class JobAnswer(BaseModel):
    """A job: what is to be done, how far it is, how it ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    kind: Kind
    state: State = Field(description="The last three are final.")
    parameters: dict[str, Any] = Field(description="Those of the request, with defaults filled in.")
    progress: JobProgressAnswer
    created: str = Field(description="When it was asked for, UTC.")
    started: str | None = Field(description="When its process began.")
    ended: str | None = Field(description="When it ended in whichever way.")
    trigger: Trigger = Field(description="Who asked: a request, or the schedule in the settings.")
    cancel_requested: bool = Field(description="Whether it has been told to stop.")
    interrupted: bool = Field(
        description="Whether it failed because its process or its server ended; it can then be resumed."
    )
    resumable: bool = Field(description="Whether POST …/resume may go on with it: it failed or was canceled.")
    resumed_from: str | None = Field(description="The job that this one goes on with.")
    error: JobErrorAnswer | None = Field(description="Why it failed.")
    result: dict[str, Any] | None = Field(
        description="What came of it: index_version and counts of a reindex; preset, epochs, best_metric and "
        "seconds of a training."
    )


class JobsAnswer(BaseModel):
    """Jobs, the newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"jobs": [_EXAMPLE], "next_cursor": None}]})

    jobs: list[JobAnswer]
    next_cursor: str | None = Field(description="Give it as `cursor` for older ones; null at the end.")
