"""The filter of a search: conditions on tags and attributes."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from app.api.strict import Strict, one_key, one_of
from app.attribute_columns import LONGEST_NAME

MAX_CONDITIONS = 100


def _scalar(value: Any) -> Any:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float) and _is_finite(value):
        return value
    raise ValueError("must be a string, a number or a boolean")


def _is_finite(value: float) -> bool:
    """Whether it is a number that is within what a float can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _bound(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number or a string")
    return _scalar(value)


Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
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
                    "match": {"type": "string", "pattern": r"\S"},
                    "any": {"items": {"type": "string", "pattern": r"\S"}},
                    "range": False,
                }
            },
        }
    )

    key: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)] = Field(
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
        None,
        min_length=1,
        max_length=1000,
        fail_fast=True,  # each value that is none would be an exception of its own
        description="The value is one of these, or the list holds one.",
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
        # What is in the names is looked at in a thread (row_filter_of): there may be tens of thousands.
        if not all(isinstance(name, str) for name in asked):
            raise ValueError("a tag is a string")
        return self


Conditions = Annotated[list[Condition], Field(max_length=MAX_CONDITIONS)]


class Filter(Strict):
    """Which images may be found at all. It is applied inside the vector search, so `limit` results come back
    if so many fit. A body with more than 50,000 values (elements of lists and fields) in all is refused.
    """

    must: Conditions = Field([], description="All of these hold.")
    should: Conditions = Field([], description="At least one of these holds (when there are any).")
    must_not: Conditions = Field([], description="None of these holds.")
