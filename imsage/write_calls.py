"""The calls that change the catalogue, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Required, TypedDict

from imsage.answers import Removed, Stored
from imsage.calls import Call, answer_as
from imsage.questions import Tags, Url, picture_json, tags_json


class NewImage(TypedDict, total=False):
    """An image to store: its id, its picture (a file, bytes or a Url), tags and attributes."""

    id: Required[str]
    image: Required[bytes | PathLike[str] | Url]
    tags: Tags
    attributes: Mapping[str, Any]


def upsert(images: Sequence[NewImage]) -> Call[Stored]:
    """Store images, each by itself."""
    body = {"images": [_new_image(image) for image in images]}
    return Call("POST", "/v1/images", answer_as(Stored), json=body)


def delete(ids: Sequence[str]) -> Call[Removed]:
    """Remove images. Raises TypeError for one string, which is an id, not a list of ids."""
    if isinstance(ids, str):
        raise TypeError(f"ids must be a list of ids, not the string {ids!r}")
    return Call("POST", "/v1/images/delete", answer_as(Removed), json={"ids": list(ids)})


def _new_image(image: NewImage) -> dict[str, Any]:
    body: dict[str, Any] = {**image, "image": picture_json(image["image"])}
    if "tags" in image:
        body["tags"] = tags_json(image["tags"])
    return body
