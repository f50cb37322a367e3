"""What the service accepts. Unknown fields are refused everywhere; each field here does something."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

MAX_LIMIT = 1000
MAX_BATCH = 64
MAX_TAGS = 100
MAX_IMAGES = 16
MAX_CONDITIONS = 100


class Strict(BaseModel):
    """Base of all request bodies: no unknown fields, no guessing of types, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class WithoutNulls(Strict):
    """A body whose optional fields are left out when they are not wanted."""

    @model_validator(mode="after")
    def _no_nulls(self) -> Self:
        for name in sorted(self.model_fields_set):
            if getattr(self, name) is None:
                raise ValueError(f'"{name}" must not be null; leave it out')
        return self


def one_key(value: Any, names: tuple[str, ...]) -> Any:
    """Raises ValueError unless `value`, where it is an object, has exactly one of these keys."""
    given = [name for name in names if name in value] if isinstance(value, dict) else []
    if len(given) != 1 and isinstance(value, dict):
        listed = ", ".join(f'"{name}"' for name in names)
        raise ValueError(f"give exactly one of {listed}; there are {len(given)}")
    if given and value[given[0]] is None:
        raise ValueError(f'"{given[0]}" must not be null')
    return value


def one_of(*names: str) -> dict[str, Any]:
    """The same in JSON schema."""
    return {"oneOf": [{"required": [name]} for name in names]}


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


def _tag(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


TagBody = Annotated[QueryTagBody, BeforeValidator(_tag, json_schema_input_type=TagName | QueryTagBody)]


def _scalar(value: Any) -> Any:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    raise ValueError("must be a string, a number or a boolean")


def _bound(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number or a string")
    return _scalar(value)


Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
AnyOf = Annotated[list[Scalar], Field(min_length=1, max_length=1000)]
Bound = Annotated[Any, BeforeValidator(_bound), WithJsonSchema({"type": ["string", "number"]})]


def _bounds_are(kind: str) -> dict[str, Any]:
    bounds = {name: {"type": kind} for name in ("gt", "gte", "lt", "lte")}
    return {"type": "object", "properties": bounds, "minProperties": 1}


class Range(Strict):
    """Bounds of a value. Numbers compare with numbers, strings with strings (ISO dates in their order)."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [_bounds_are("number"), _bounds_are("string")]})

    gt: Bound = Field(None, description="Above this.")
    gte: Bound = Field(None, description="This or above.")
    lt: Bound = Field(None, description="Below this.")
    lte: Bound = Field(None, description="This or below.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [getattr(self, name) for name in sorted(self.model_fields_set)]
        if not given:
            raise ValueError("give at least one of gt, gte, lt, lte")
        if len({isinstance(bound, str) for bound in given}) > 1:
            raise ValueError("the bounds must all be numbers or all be strings")
        return self


class Condition(Strict):
    """One condition on the tags (key "tags") or on an attribute; a.b reaches into a nested attribute."""

    model_config = ConfigDict(
        json_schema_extra={
            **one_of("match", "any", "range", "exists"),
            "if": {"properties": {"key": {"const": "tags"}}},
            "then": {
                "properties": {
                    "match": {"type": "string"},
                    "any": {"items": {"type": "string"}},
                    "range": False,
                }
            },
        }
    )

    key: Annotated[str, StringConstraints(min_length=1, max_length=300)] = Field(
        description='"tags", or the name of an attribute.', examples=["tags", "year"]
    )
    match: Scalar = Field(None, description="The value is this one, or the list holds it.")
    any: Annotated[
        list[Scalar] | None,
        WithJsonSchema(
            {
                "type": "array",
                "minItems": 1,
                "maxItems": 1000,
                "items": {"type": ["string", "number", "boolean"]},
            }
        ),
    ] = Field(
        None, min_length=1, max_length=1000, description="The value is one of these, or the list holds one."
    )
    range: Range | None = Field(None, description="The value lies inside these bounds. Not for tags.")
    exists: bool | None = Field(
        None, description="Whether there is a value at all that is neither null nor an empty list."
    )

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, value: Any) -> Any:
        return one_key(value, ("match", "any", "range", "exists"))

    @model_validator(mode="after")
    def _fits_tags(self) -> Self:
        if self.key != "tags":
            return self
        if self.range is not None:
            raise ValueError("range does not apply to tags")
        asked = self.any if self.any is not None else [self.match] if self.match is not None else []
        if not all(isinstance(name, str) for name in asked):
            raise ValueError("a tag is a string")
        return self


Conditions = Annotated[list[Condition], Field(max_length=MAX_CONDITIONS)]


class Filter(Strict):
    """Which images may be found at all. It is applied inside the vector search, so `limit` results come back
    if so many fit.
    """

    must: Conditions = Field([], description="All of these hold.")
    should: Conditions = Field([], description="At least one of these holds (when there are any).")
    must_not: Conditions = Field([], description="None of these holds.")


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
            "neighbours and tags; with image it is a bare picture."
        ),
    )
    visual_weight: float = Field(
        0.5, ge=0, le=1, description="The slider: 1 is looks alone, 0 is meaning alone."
    )
    limit: Whole = Field(20, ge=1, le=MAX_LIMIT, description="Most results in this answer.")
    cursor: CursorText | None = Field(
        None,
        description=(
            "next_cursor of the answer before, with the same question. 410 when its snapshot is gone."
        ),
    )
    filter: Filter | None = Field(None, description="Which images may be found at all.")
    score_threshold: float | None = Field(None, description="Leave out results with a lower score.")
    diversity: float = Field(
        0.0, ge=0, le=1, description="How much results that resemble an earlier one are held back; 0 is off."
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
    """Several searches in one call."""

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
