"""What is asked, and how it is written as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Required, TypeAlias, TypedDict

Scalar: TypeAlias = str | float | bool
Attach: TypeAlias = Literal["auto", "image", "tags", "mixed"]


@dataclass(frozen=True)
class Url:
    """A public address that the server fetches a picture from, where its settings allow it."""

    address: str


@dataclass(frozen=True)
class ServerPath:
    """A picture file on the server, by its path below the folder that the server's settings name. Only for
    storing.
    """

    path: str


Picture: TypeAlias = str | bytes | PathLike[str] | Url
"""A picture: the id of one in the catalogue (str), a file of yours (Path), its bytes, or a Url."""

Pictures: TypeAlias = Picture | Sequence[Picture | tuple[Picture, float]]
"""A picture, or several with weights where they are given: like these two, not like that one."""

Tags: TypeAlias = Sequence[str | tuple[str, float]] | Mapping[str, float]
"""Tags, with weights where they are given: ["dog", ("people", -0.5)] or {"dog": 1, "people": -0.5}."""


class Range(TypedDict, total=False):
    """Bounds of a value: all numbers, or all strings."""

    gt: float | str
    gte: float | str
    lt: float | str
    lte: float | str


class Condition(TypedDict, total=False):
    """One condition on the tags (key "tags") or on an attribute; exactly one of the other four."""

    key: Required[str]
    match: Scalar
    any: Sequence[Scalar]
    range: Range
    exists: bool


class Filter(TypedDict, total=False):
    """Which images may be found at all."""

    must: Sequence[Condition]
    should: Sequence[Condition]
    must_not: Sequence[Condition]


class Options(TypedDict, total=False):
    """Everything of a question but its picture. What is left out has the server's default."""

    tags: Tags
    text: str
    attach: Attach
    visual_weight: float
    limit: int
    cursor: str
    filter: Filter
    score_threshold: float
    diversity: float
    collapse: float
    explain: bool


class Question(Options, total=False):
    """A question: like this picture, about these things, this much of each."""

    image: Pictures


def question_json(question: Mapping[str, Any]) -> dict[str, Any]:
    """A question (or its options) as the server reads it. Reads the file of a picture."""
    body = dict(question)
    if "image" in body:
        body["image"] = pictures_json(body["image"])
    if "tags" in body:
        body["tags"] = tags_json(body["tags"])
    return body


def pictures_json(pictures: Pictures) -> dict[str, Any] | list[dict[str, Any]]:
    """One picture or several as the server reads them. Raises OSError."""
    if isinstance(pictures, str | bytes | PathLike | Url):
        return picture_json(pictures)
    return [
        {**picture_json(one[0]), "weight": one[1]} if isinstance(one, tuple) else picture_json(one)
        for one in pictures
    ]


def picture_json(picture: Picture) -> dict[str, str]:
    """A picture as the server reads it. Raises OSError when it is a file that cannot be read."""
    if isinstance(picture, str):
        return {"id": picture}
    if isinstance(picture, Url):
        return {"url": picture.address}
    return {"data": base64.b64encode(picture_bytes(picture)).decode("ascii")}


def picture_bytes(picture: bytes | PathLike[str]) -> bytes:
    """The bytes of a picture file. Raises OSError."""
    return picture if isinstance(picture, bytes) else Path(picture).read_bytes()


def tags_json(tags: Tags) -> list[str | dict[str, Any]]:
    """Tags as the server reads them. Raises TypeError for one string, which is a tag, not a list of tags."""
    if isinstance(tags, str):
        raise TypeError(f"tags must be a list of tags, not the string {tags!r}")
    listed = tags.items() if isinstance(tags, Mapping) else tags
    return [tag if isinstance(tag, str) else {"name": tag[0], "weight": tag[1]} for tag in listed]
