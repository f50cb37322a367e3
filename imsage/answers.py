"""What the calls return. Fields that a newer server adds are left out, so an older client goes on working."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imsage.errors import Wrong


@dataclass(frozen=True)
class Tag:
    """A tag of a picture; as an answer to a picture's neighbours, with the weight of the edge."""

    name: str
    weight: float


@dataclass(frozen=True)
class SpokenTag:
    """A tag that spoke for a result (or, below zero, against it)."""

    name: str
    contribution: float


@dataclass(frozen=True)
class SpokenNeighbor:
    """A picture that the question is joined to, and that spoke for a result (or, below zero, against it)."""

    id: str
    contribution: float


@dataclass(frozen=True)
class HitExplanation:
    """Why a result is there: the tags that spoke for it, and the pictures that the question is joined to."""

    tags: tuple[SpokenTag, ...]
    neighbors: tuple[SpokenNeighbor, ...] = ()


@dataclass(frozen=True)
class Hit:
    """One result; score = visual + conceptual. `near_copies` are the ids that `collapse` folded into it."""

    id: str
    score: float
    visual: float
    conceptual: float
    tags: tuple[Tag, ...]
    attributes: Mapping[str, Any]
    explain: HitExplanation | None = None
    near_copies: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ImageEdge:
    """An edge to a picture of the index."""

    id: str
    weight: float


@dataclass(frozen=True)
class TagEdge:
    """An edge from a question to a tag; `asked_as` is the word that led to it."""

    name: str
    weight: float
    asked_as: str


@dataclass(frozen=True)
class Edges:
    """The edges that a question was given in the graph."""

    images: tuple[ImageEdge, ...]
    tags: tuple[TagEdge, ...]


@dataclass(frozen=True)
class Answer:
    """The results of one question, the best first. `took_ms` is by stage."""

    hits: tuple[Hit, ...]
    attach: str
    index_version: str
    took_ms: Mapping[str, float]
    next_cursor: str | None = None
    explain: Edges | None = None


@dataclass(frozen=True)
class Answers:
    """One answer for each question of a batch, in order."""

    results: tuple[Answer, ...]


@dataclass(frozen=True)
class PredictedTag:
    """A tag that a picture probably has; the score is calibrated to [0, 1]."""

    name: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The likeliest tags of a picture, the likeliest first."""

    tags: tuple[PredictedTag, ...]
    index_version: str
    took_ms: Mapping[str, float]


@dataclass(frozen=True)
class CountedTag:
    """A tag and how many pictures of the index carry it."""

    name: str
    count: int


@dataclass(frozen=True)
class CountedTags:
    """Tags that complete what was typed, the most used first."""

    tags: tuple[CountedTag, ...]


@dataclass(frozen=True)
class Image:
    """A picture of the catalogue. `split` is train (in the index) or test (held out of it)."""

    id: str
    split: str
    indexed: bool
    width: int | None
    height: int | None
    caption: str | None
    tags: tuple[Tag, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Neighbors:
    """The edges of a picture in the graph: similar pictures, its tags, and the tags related to each."""

    id: str
    similar: tuple[ImageEdge, ...]
    tags: tuple[Tag, ...]
    related: Mapping[str, tuple[Tag, ...]]
    index_version: str


@dataclass(frozen=True)
class DeltaCounts:
    """What the catalogue holds beyond the snapshot: pictures that were added or changed, those of them that
    stand for one of the snapshot, and pictures of the snapshot that are found no more.
    """

    images: int
    replaced: int
    deleted: int


@dataclass(frozen=True)
class Index:
    """What is being served."""

    index_version: str
    created: str | None
    counts: Mapping[str, int]
    encoder: Mapping[str, Any]
    text_encoder: Mapping[str, Any] | None
    model: Mapping[str, Any]
    parameters: Mapping[str, Any]
    delta: DeltaCounts | None = None
    degraded: str | None = None
    credits: str | None = None


@dataclass(frozen=True)
class Readiness:
    """Whether questions can be answered: ok, or degraded while an older snapshot serves."""

    status: str
    index_version: str
    detail: str | None = None


@dataclass(frozen=True)
class File:
    """The bytes of a picture and their media type, such as image/webp."""

    content: bytes
    media_type: str


@dataclass(frozen=True)
class JobProgress:
    """How far a job is: items done of a phase, and an estimate of the seconds until the job ends."""

    phase: str
    done: int
    total: int | None
    skipped: int
    failed: int
    seconds_left: float | None


@dataclass(frozen=True)
class JobError:
    """Why a job failed."""

    type: str
    detail: str


@dataclass(frozen=True)
class Job:
    """A reindex or a training, run by the server. Times are ISO 8601, UTC; `trigger`: request or schedule."""

    id: str
    kind: str
    state: str
    parameters: Mapping[str, Any]
    progress: JobProgress
    created: str
    started: str | None
    ended: str | None
    resumable: bool
    interrupted: bool
    error: JobError | None = None
    result: Mapping[str, Any] | None = None
    resumed_from: str | None = None
    trigger: str = "request"
    cancel_requested: bool = False

    @property
    def active(self) -> bool:
        """Whether it waits or runs: it has neither succeeded nor failed nor been canceled."""
        return self.state in ("enqueued", "processing")


@dataclass(frozen=True)
class Jobs:
    """Jobs, the newest first; `next_cursor` leads to older ones."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class ItemProblem:
    """Why one item of a call could not be done; `errors` are the wrong parts of the request."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    errors: tuple[Wrong, ...] = ()


@dataclass(frozen=True)
class StoredImage:
    """What became of one image: created, replaced, or failed (then `problem` says why)."""

    id: str
    status: str
    problem: ItemProblem | None = None


@dataclass(frozen=True)
class Stored:
    """What became of each image that was to be stored, in order. `took_ms` is by stage."""

    results: tuple[StoredImage, ...]
    created: int
    replaced: int
    failed: int
    index_version: str
    took_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RemovedImage:
    """What became of one image: deleted, or missing."""

    id: str
    status: str


@dataclass(frozen=True)
class Removed:
    """What became of each image that was to be removed, in order."""

    results: tuple[RemovedImage, ...]
    deleted: int
    missing: int
