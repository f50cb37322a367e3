"""The calls that change the catalogue, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Required, TypedDict

from imsage.answers import Image, Removed, Stored
from imsage.calls import Call, answer_as, image_path
from imsage.questions import ServerPath, Tags, Url, picture_json, tags_json


class NewImage(TypedDict, total=False):
    """An image to store: its id, its picture (a file, bytes, a Url or a ServerPath), tags and attributes."""

    id: Required[str]
    image: Required[bytes | PathLike[str] | Url | ServerPath]
    tags: Tags
    attributes: Mapping[str, Any]


def upsert(images: Sequence[NewImage]) -> Call[Stored]:
    """Store images, each by itself."""
    body = {"images": [_new_image(image) for image in images]}
    return Call("POST", "/v1/images", answer_as(Stored), json=body, repeatable=False)


def delete(ids: Sequence[str]) -> Call[Removed]:
    """Remove images. Raises TypeError for one string, which is an id, not a list of ids."""
    if isinstance(ids, str):
        raise TypeError(f"ids must be a list of ids, not the string {ids!r}")
    body = {"ids": list(ids)}
    return Call("POST", "/v1/images/delete", answer_as(Removed), json=body, repeatable=False)


def update(image_id: str, tags: Tags | None, attributes: Mapping[str, Any] | None) -> Call[Image]:
    """Change tags and attributes of an image."""
    body: dict[str, Any] = {}
    if tags is not None:
        body["tags"] = tags_json(tags)
    if attributes is not None:
        body["attributes"] = dict(attributes)
    return Call("PATCH", image_path(image_id), answer_as(Image), json=body, repeatable=False)


def _new_image(image: NewImage) -> dict[str, Any]:
    picture = image["image"]
    named = {"path": picture.path} if isinstance(picture, ServerPath) else picture_json(picture)
    body: dict[str, Any] = {**image, "image": named}
    if "tags" in image:
        body["tags"] = tags_json(image["tags"])
    return body
