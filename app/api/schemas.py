"""What the service accepts. Unknown fields are refused everywhere; each field here does something."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    model_validator,
)

from app.api.filter_schemas import Filter
from app.api.strict import Strict, WithoutNulls, one_key, one_of

MAX_LIMIT = 1000
MAX_BATCH = 64
MAX_TAGS = 100
MAX_IMAGES = 16
MOST_VALUES = 50_000
"""How many values the body of a call that asks may hold in all, at any depth: 64 questions of 100 weighted
tags each are 20,000. Without it the limits of the single lists multiply to millions.
"""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number. JSON has one kind of number, and some programs write 20 as 20.0."""
ImageId = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]
Url = Annotated[str, StringConstraints(max_length=8192)]
_NOT_BLANK = {"pattern": r"\S"}
Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2000),
    Field(json_schema_extra=_NOT_BLANK),
]
TagName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=300),
    Field(json_schema_extra=_NOT_BLANK),
]
CursorText = Annotated[str, StringConstraints(max_length=262_144)]


class ImageRef(Strict):
    """One picture, named in exactly one of three ways."""

    model_config = ConfigDict(json_schema_extra=one_of("id", "data", "url"))

    id: ImageId | None = Field(
        None, description="The id of a picture of the catalogue.", examples=["beach/0042.jpg"]
    )
    data: Base64 | None = Field(None, description="The bytes of a picture file, in base64.")
    url: Url | None = Field(
        None,
        description=(
            "A public http or https address to fetch the picture from. "
            "Off unless the setting url_fetch is on."
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, value: Any) -> Any:
        return one_key(value, ("id", "data", "url"))


class WeightedImageRef(ImageRef):
    """One of several pictures that the results should be like (or unlike, when its weight is below zero)."""

    weight: float = Field(
        1.0,
        ge=-100,
        le=100,
        description="How much; below zero means away from it, zero leaves the picture out.",
    )


ONE_PICTURE, SEVERAL_PICTURES = "(one picture)", "(several pictures)"
"""Names of the two forms of `image`. Pydantic puts them into the place of an error; a pointer leaves them
out.
"""


def _form(value: Any) -> str:
    return SEVERAL_PICTURES if isinstance(value, list | tuple) else ONE_PICTURE


ImageOrImages = Annotated[
    Annotated[ImageRef, Tag(ONE_PICTURE)]
    | Annotated[list[WeightedImageRef], Field(min_length=1, max_length=MAX_IMAGES), Tag(SEVERAL_PICTURES)],
    Discriminator(_form),
]


class QueryTagBody(Strict):
    """A tag that the results should be about (or not about, when its weight is below zero)."""

    name: TagName = Field(
        description="The tag. A word that is no tag of the catalogue is understood through the text encoder."
    )
    weight: float = Field(
        1.0, ge=-100, le=100, description="How much; below zero means away from it, zero leaves the tag out."
    )


_TAG_NAME = TypeAdapter(TagName)


def tag_as_object(value: Any) -> Any:
    """A tag that is given by its name alone, as the object that it stands for."""
    # Looked at here, so that an error points at the string and not at a field that the request does not have.
    return {"name": _TAG_NAME.validate_python(value)} if isinstance(value, str) else value


TagBody = Annotated[
    QueryTagBody, BeforeValidator(tag_as_object, json_schema_input_type=TagName | QueryTagBody)
]


Attach = Literal["auto", "image", "tags", "mixed"]


class SearchOptions(WithoutNulls):
    """Everything of a question but its picture: the part `query` of an upload."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tags": ["dog"], "visual_weight": 0.4}]})

    tags: list[TagBody] = Field(
        [], max_length=MAX_TAGS, description="What the results should be about; weights may be negative."
    )
    text: Words | None = Field(None, description="What the results should be about, in free words.")
    attach: Attach = Field(
        "auto",
        description=(
            "Which edges the query gets in the graph: those to similar "
            "images, those to tags, both, or what fits. "
            "With auto, a picture of the catalogue has its own stored "
            "neighbours and tags; with image it is a bare picture. Tags beside a picture are a part of what "
            "is wanted, and what else it shows is the rest; with tags they are all of it."
        ),
    )
    visual_weight: float = Field(
        0.5, ge=0, le=1, description="The slider: 1 is looks alone, 0 is meaning alone."
    )
    limit: Whole = Field(20, ge=1, le=MAX_LIMIT, description="Most results in this answer.")
    cursor: CursorText | None = Field(
        None,
        description=(
            "next_cursor of the answer before, with the same question. 410 when its snapshot is gone. "
            "No cursor leads past 10,000 results."
        ),
    )
    filter: Filter | None = Field(None, description="Which images may be found at all.")
    score_threshold: float | None = Field(None, description="Leave out results with a lower score.")
    diversity: float = Field(
        0.0,
        ge=0,
        le=1,
        description=(
            "How much results that resemble an earlier one are held back; 0 is off. All pages are then cut "
            "from the best 4 × limit results of the first page, at least 200 and at most 2,000, and end "
            "with them."
        ),
    )
    collapse: float | None = Field(
        None,
        gt=0,
        le=1,
        description=(
            "Fold near copies: a result that looks like a better one, with at least this cosine of their "
            "features, is listed under it in near_copies. 0.95 or more is a good start."
        ),
    )
    explain: bool = Field(
        False,
        description="Also return the edges used and, for each hit, the tags and neighbours that spoke.",
    )


class SearchRequest(SearchOptions):
    """A question: like this picture, about these things, this much of each. At least one of image, tags,
    text.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["image"]},
                {"required": ["tags"], "properties": {"tags": {"minItems": 1}}},
                {"required": ["text"]},
            ],
            "examples": [
                {"image": {"id": "beach/0042.jpg"}, "tags": ["dog"], "visual_weight": 0.4, "limit": 12},
                {
                    "image": [
                        {"id": "beach/0042.jpg"},
                        {"id": "beach/0107.jpg"},
                        {"id": "city/0003.jpg", "weight": -0.5},
                    ]
                },
                {
                    "text": "a dog on a beach",
                    "tags": [{"name": "people", "weight": -0.5}],
                    "filter": {"must": [{"key": "year", "range": {"gte": 2019}}]},
                    "explain": True,
                },
            ],
        }
    )

    image: ImageOrImages | None = Field(
        None,
        description=(
            "The picture to be like, or a list of up to 16 with weights: like these, not like that. "
            "Pictures of the catalogue that are named here are not among the results."
        ),
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.image is None and not self.tags and self.text is None:
            raise ValueError("give at least one of image, tags, text")
        return self


class BatchRequest(Strict):
    """Several searches in one call, with at most 50,000 values (elements of lists and fields) in all."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"queries": [{"tags": ["dog"]}, {"image": {"id": "beach/0042.jpg"}, "limit": 5}]}]
        }
    )

    queries: list[SearchRequest] = Field(min_length=1, max_length=MAX_BATCH)


class PredictRequest(Strict):
    """A picture whose tags are wanted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"image": {"id": "beach/0042.jpg"}, "limit": 10}]}
    )

    image: ImageRef
    limit: Whole = Field(10, ge=1, le=MAX_LIMIT, description="Most tags in the answer.")
    missing: bool = Field(
        False, description="Only tags that an indexed picture does not carry: those that it probably lacks."
    )
