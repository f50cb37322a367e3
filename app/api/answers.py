"""What the service answers. These classes describe; answers are written as bytes and not validated again."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class WeightedTag(BaseModel):
    """A tag of a picture."""

    name: str = Field(examples=["dog"])
    weight: float = Field(examples=[1.0])


class SpokenTag(BaseModel):
    """A tag that spoke for a result."""

    name: str
    contribution: float = Field(
        description="What it alone adds to (or, below zero, takes from) the conceptual part."
    )


class HitExplanation(BaseModel):
    """Why a result is there."""

    tags: list[SpokenTag]


class Hit(BaseModel):
    """One result. score = visual + conceptual, exactly as written."""

    id: str = Field(examples=["beach/0042.jpg"])
    score: float = Field(examples=[0.75])
    visual: float = Field(examples=[0.25])
    conceptual: float = Field(examples=[0.5])
    explain: HitExplanation | None = Field(None, description="Only when the question asked for it.")
    tags: list[WeightedTag]
    attributes: dict[str, Any]


class EdgeToImage(BaseModel):
    """An edge from the query to a picture of the index."""

    id: str
    weight: float


class EdgeToTag(BaseModel):
    """An edge from the query to a tag; `asked_as` is the word that led to it."""

    name: str
    weight: float
    asked_as: str


class Explanation(BaseModel):
    """The edges that the query was given in the graph."""

    images: list[EdgeToImage]
    tags: list[EdgeToTag]


class SearchAnswer(BaseModel):
    """The results of one question, the best first (with diversity: in the order to show them)."""

    hits: list[Hit]
    explain: Explanation | None = Field(None, description="Only when the question asked for it.")
    attach: str = Field(description="Which edges the query had: image, tags or mixed.", examples=["mixed"])
    index_version: str = Field(description="The snapshot that answered.", examples=["000003-1f0c9a2b"])
    took_ms: dict[str, float] = Field(
        description="Milliseconds by stage: decode, encode, attach, search, total.",
        examples=[{"attach": 0.05, "search": 0.4, "total": 0.6}],
    )
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null at the end.")


class BatchAnswer(BaseModel):
    """One answer for each question, in order, all from one snapshot."""

    results: list[SearchAnswer]


class PredictedTag(BaseModel):
    """A tag that a picture probably has."""

    name: str = Field(examples=["dog"])
    score: float = Field(ge=0, le=1, examples=[0.91])


class PredictAnswer(BaseModel):
    """The likeliest tags, the likeliest first; scores are calibrated to [0, 1]."""

    tags: list[PredictedTag]
    index_version: str
    took_ms: dict[str, float]


class CountedTag(BaseModel):
    """A tag and how many pictures of the index carry it."""

    name: str = Field(examples=["dog"])
    count: int = Field(examples=[311])


class TagsAnswer(BaseModel):
    """Tags that complete what was typed, the most used first."""

    tags: list[CountedTag]


class ImageAnswer(BaseModel):
    """A picture of the catalogue."""

    id: str = Field(examples=["beach/0042.jpg"])
    split: str = Field(description="train (in the index) or test (held out of it).", examples=["train"])
    indexed: bool = Field(description="Whether the snapshot that is served holds it.")
    width: int | None = Field(description="In pixels, as it is seen.")
    height: int | None = Field(description="In pixels, as it is seen.")
    caption: str | None
    tags: list[WeightedTag]
    attributes: dict[str, Any]


class NeighborsAnswer(BaseModel):
    """The edges of a picture in the graph that is served."""

    id: str
    similar: list[EdgeToImage] = Field(description="The pictures that look most like it, the nearest first.")
    tags: list[WeightedTag] = Field(description="The tags it is joined to, with the weight of each edge.")
    related: dict[str, list[WeightedTag]] = Field(description="For each of its tags, the tags related to it.")
    index_version: str


class IndexAnswer(BaseModel):
    """What is being served."""

    index_version: str
    created: str | None
    counts: dict[str, int]
    encoder: dict[str, Any]
    text_encoder: dict[str, Any] | None
    model: dict[str, Any]
    parameters: dict[str, Any]
    degraded: str | None = Field(
        description="Why the newest snapshot is not what is served; null when all is well."
    )
    credits: str | None = Field(description="Who is to be named for the pictures.")


class Liveness(BaseModel):
    """The process answers."""

    status: str = Field(examples=["ok"])


class Readiness(BaseModel):
    """Whether questions can be answered."""

    status: str = Field(description="ok, or degraded while an older snapshot serves.", examples=["ok"])
    index_version: str
    detail: str | None = Field(None, description="What is wrong, when degraded.")
