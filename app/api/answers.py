"""What the service answers. These classes describe; answers are written as bytes and not validated again."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_VERSION = "000003-1f0c9a2b"
_SEARCH_ANSWER: dict[str, Any] = {
    "hits": [
        {
            "id": "beach/0107.jpg",
            "score": 0.75,
            "visual": 0.25,
            "conceptual": 0.5,
            "tags": [{"name": "dog", "weight": 1.0}, {"name": "beach", "weight": 1.0}],
            "attributes": {"year": 2021},
        }
    ],
    "attach": "mixed",
    "index_version": _VERSION,
    "took_ms": {"attach": 0.05, "search": 0.4, "total": 0.6},
    "next_cursor": "WyIwMDAwMDMtMWYwYzlhMmIiLCI5ZiIsMSwwLjc1LFtdLDBd",
}


def _shown(*examples: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": list(examples)})


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


class SpokenNeighbor(BaseModel):
    """A picture that the query is joined to, and that spoke for a result."""

    id: str
    contribution: float = Field(
        description=(
            "What its meaning adds to (or, below zero, takes from) the conceptual part, by the weight of the "
            "query's edge to it."
        )
    )


class HitExplanation(BaseModel):
    """Why a result is there, the strongest reasons first."""

    tags: list[SpokenTag]
    neighbors: list[SpokenNeighbor]


class Hit(BaseModel):
    """One result. score = visual + conceptual, exactly as written."""

    id: str = Field(examples=["beach/0042.jpg"])
    score: float = Field(examples=[0.75])
    visual: float = Field(examples=[0.25])
    conceptual: float = Field(examples=[0.5])
    near_copies: list[str] | None = Field(
        None, description="The ids that were folded into this result. Only where the question has `collapse`."
    )
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

    model_config = _shown(_SEARCH_ANSWER)

    hits: list[Hit]
    explain: Explanation | None = Field(None, description="Only when the question asked for it.")
    attach: str = Field(description="Which edges the query had: image, tags or mixed.", examples=["mixed"])
    index_version: str = Field(description="The snapshot that answered.", examples=["000003-1f0c9a2b"])
    took_ms: dict[str, float] = Field(
        description="Milliseconds by stage: decode, encode, attach, search, total.",
        examples=[{"attach": 0.05, "search": 0.4, "total": 0.6}],
    )
    next_cursor: str | None = Field(
        description=(
            "Give it as `cursor` for the next page; null at the end: of the results, of the first 10,000, or "
            "of what `diversity` chooses from."
        )
    )


class BatchAnswer(BaseModel):
    """One answer for each question, in order, all from one snapshot."""

    model_config = _shown({"results": [_SEARCH_ANSWER]})

    results: list[SearchAnswer]


class PredictedTag(BaseModel):
    """A tag that a picture probably has."""

    name: str = Field(examples=["dog"])
    score: float = Field(ge=0, le=1, examples=[0.91])


class PredictAnswer(BaseModel):
    """The likeliest tags, the likeliest first; scores are calibrated to [0, 1]."""

    model_config = _shown(
        {
            "tags": [{"name": "dog", "score": 0.91}, {"name": "beach", "score": 0.38}],
            "index_version": _VERSION,
            "took_ms": {"decode": 3.1, "encode": 6.2, "total": 10.4},
        }
    )

    tags: list[PredictedTag]
    index_version: str
    took_ms: dict[str, float]


class CountedTag(BaseModel):
    """A tag and how many pictures of the index carry it."""

    name: str = Field(examples=["dog"])
    count: int = Field(examples=[311])


class TagsAnswer(BaseModel):
    """Tags that complete what was typed, the most used first."""

    model_config = _shown({"tags": [{"name": "dog", "count": 311}, {"name": "dolphin", "count": 12}]})

    tags: list[CountedTag]


class ImageAnswer(BaseModel):
    """A picture of the catalogue."""

    model_config = _shown(
        {
            "id": "beach/0042.jpg",
            "split": "train",
            "indexed": True,
            "width": 1600,
            "height": 1067,
            "caption": "a dog runs along the water",
            "tags": [{"name": "dog", "weight": 1.0}],
            "attributes": {"year": 2021},
        }
    )

    id: str = Field(examples=["beach/0042.jpg"])
    split: str = Field(description="train (in the index) or test (held out of it).", examples=["train"])
    indexed: bool = Field(description="Whether searches find it: in the snapshot, or in the delta beside it.")
    width: int | None = Field(description="In pixels, as it is seen.")
    height: int | None = Field(description="In pixels, as it is seen.")
    caption: str | None
    tags: list[WeightedTag]
    attributes: dict[str, Any]


class NeighborsAnswer(BaseModel):
    """The edges of a picture in the graph that is served."""

    model_config = _shown(
        {
            "id": "beach/0042.jpg",
            "similar": [{"id": "beach/0107.jpg", "weight": 0.87}],
            "tags": [{"name": "dog", "weight": 1.0}],
            "related": {"dog": [{"name": "puppy", "weight": 0.62}]},
            "index_version": _VERSION,
        }
    )

    id: str
    similar: list[EdgeToImage] = Field(description="The pictures that look most like it, the nearest first.")
    tags: list[WeightedTag] = Field(description="The tags it is joined to, with the weight of each edge.")
    related: dict[str, list[WeightedTag]] = Field(description="For each of its tags, the tags related to it.")
    index_version: str


class DeltaCounts(BaseModel):
    """What the catalogue holds beyond the snapshot. The next reindex takes it in."""

    images: int = Field(description="Pictures that were added or changed since.", examples=[12])
    replaced: int = Field(description="Those of them that stand for one of the snapshot.", examples=[2])
    deleted: int = Field(description="Pictures of the snapshot that are found no more.", examples=[1])


class IndexAnswer(BaseModel):
    """What is being served."""

    model_config = _shown(
        {
            "index_version": _VERSION,
            "created": "2026-03-01T09:30:00+00:00",
            "counts": {"images": 4833, "tags": 71},
            "delta": {"images": 12, "replaced": 2, "deleted": 1},
            "encoder": {"name": "efficientnet_lite0", "dim": 1280},
            "text_encoder": {"name": "minilm", "dim": 384},
            "model": {"preset": "default"},
            "parameters": {"k": 20},
            "degraded": None,
            "credits": None,
        }
    )

    index_version: str
    created: str | None
    counts: dict[str, int]
    delta: DeltaCounts
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

    model_config = _shown({"status": "ok"})

    status: str = Field(examples=["ok"])


class Readiness(BaseModel):
    """Whether questions can be answered."""

    model_config = _shown({"status": "ok", "index_version": _VERSION})

    status: str = Field(description="ok, or degraded while an older snapshot serves.", examples=["ok"])
    index_version: str
    detail: str | None = Field(None, description="What is wrong, when degraded.")
