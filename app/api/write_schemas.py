"""What the calls accept that change the catalogue."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from app.api.schemas import Base64, ImageId, TagName, Url, tag_as_object
from app.api.strict import Strict, WithoutNulls, one_key, one_of

MAX_UPSERT = 256
MAX_DELETE = 10_000
MAX_IMAGE_TAGS = 1000


def _storable(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("an id must have a character that is seen, and no NUL")
    return value


NewId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000),
    AfterValidator(_storable),
    Field(json_schema_extra={"pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}),
]


class NewPicture(Strict):
    """The picture of an image to store, named in exactly one of three ways."""

    model_config = ConfigDict(json_schema_extra=one_of("data", "url", "path"))

    data: Base64 | None = Field(None, description="The bytes of a picture file, in base64.")
    url: Url | None = Field(
        None,
        description=(
            "A public http or https address to fetch the picture from. "
            "Off unless the setting url_fetch is on."
        ),
    )
    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = Field(
        None,
        description="A file of the server, relative to the setting upsert_folder. Off unless that is set.",
    )

    @model_validator(mode="before")
    @classmethod
    def _exactly_one(cls, value: Any) -> Any:
        return one_key(value, ("data", "url", "path"))


class NewTagBody(Strict):
    """A tag to store with an image."""

    name: TagName = Field(description="The tag. One that no image has yet is new.")
    weight: float = Field(1.0, gt=0, le=100, description="How strongly the image is joined to it.")


TagToStore = Annotated[
    NewTagBody, BeforeValidator(tag_as_object, json_schema_input_type=TagName | NewTagBody)
]
TagsToStore = Annotated[list[TagToStore], Field(max_length=MAX_IMAGE_TAGS)]


class NewImage(Strict):
    """One image to store. What was there under its id is replaced whole."""

    id: NewId = Field(description="Any name; it may hold slashes.", examples=["beach/0042.jpg"])
    image: NewPicture
    tags: TagsToStore = Field([], description="What it shows.")
    attributes: dict[str, Any] = Field(
        {}, description="Anything to filter by or to show.", examples=[{"year": 2024}]
    )


class UpsertRequest(Strict):
    """Images to store, each by itself: one that cannot be used does not hold up the others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "images": [
                        {
                            "id": "beach/0042.jpg",
                            "image": {"path": "beach/0042.jpg"},
                            "tags": ["dog", {"name": "beach", "weight": 0.5}],
                            "attributes": {"year": 2024},
                        }
                    ]
                }
            ]
        }
    )

    images: list[NewImage] = Field(min_length=1, max_length=MAX_UPSERT)


class DeleteRequest(Strict):
    """Images to remove."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": ["beach/0042.jpg"]}]})

    ids: list[ImageId] = Field(min_length=1, max_length=MAX_DELETE)


class DescribeRequest(WithoutNulls):
    """What is to be changed about an image; its picture stays. Give at least one of tags and attributes."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "examples": [{"tags": ["dog", "beach"], "attributes": {"year": 2024, "draft": None}}],
        }
    )

    tags: TagsToStore | None = Field(None, description="Its tags from now on; all others are taken off.")
    attributes: dict[str, Any] | None = Field(
        None,
        description=(
            "Attributes to set, each in place of the old one; null removes one, and objects are merged in "
            "the same way (RFC 7396). What is not named stays."
        ),
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give at least one of tags, attributes")
        return self
