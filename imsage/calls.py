"""Every call of the API as data: what is sent, and how the answer is read. Nothing here sends anything."""

from __future__ import annotations

import json as json_format
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx

from imsage.answers import (
    Answer,
    Answers,
    CountedTag,
    CountedTags,
    File,
    Image,
    Index,
    Neighbors,
    Prediction,
    Readiness,
)
from imsage.questions import Picture, picture_bytes, picture_json, question_json
from imsage.reading import read

T = TypeVar("T", covariant=True)
M = TypeVar("M")

_MISTAKEN = {"delete": "%64elete", ".": "%2E", "..": "%2E%2E"}
"""Ids that would be taken for something else in a path (the name of a call, a step to another folder), and
how they are written so that they are not."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and what makes the answer out of its response. `retried` is whether 429 and 503 are.

    `repeatable` is whether it may also be made again when the server has given it up in the middle. A change
    may have been made by then, or a job started: only who asked for it knows whether to do it twice.
    """

    method: str
    path: str
    answer: Callable[[httpx.Response], T]
    json: Any = None
    params: Mapping[str, str | int] | None = None
    files: Mapping[str, tuple[str | None, bytes, str]] | None = None
    headers: Mapping[str, str] | None = None
    retried: bool = True
    repeatable: bool = True

    def request(self, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """The request that this client sends."""
        return client.build_request(
            self.method,
            self.path,
            json=self.json,
            params=self.params,
            files=self.files,
            headers=self.headers,
        )


def search(question: Mapping[str, Any]) -> Call[Answer]:
    """One question."""
    return Call("POST", "/v1/search", answer_as(Answer), json=question_json(question))


def upload(picture: bytes | PathLike[str], options: Mapping[str, Any]) -> Call[Answer]:
    """One question, its picture as a file beside it: a third less to send than inside the JSON."""
    query = json_format.dumps(question_json(options)).encode()
    files = {
        "image": ("image", picture_bytes(picture), "application/octet-stream"),
        "query": (None, query, "application/json"),
    }
    return Call("POST", "/v1/search/upload", answer_as(Answer), files=files)


def batch(questions: Sequence[Mapping[str, Any]]) -> Call[tuple[Answer, ...]]:
    """Several questions, answered from one snapshot."""
    body = {"queries": [question_json(question) for question in questions]}
    return Call("POST", "/v1/search/batch", lambda response: answer_as(Answers)(response).results, json=body)


def predict(picture: Picture, limit: int, missing: bool) -> Call[Prediction]:
    """The likeliest tags of a picture."""
    body = {"image": picture_json(picture), "limit": limit, "missing": missing}
    return Call("POST", "/v1/tags/predict", answer_as(Prediction), json=body)


def complete(prefix: str, limit: int) -> Call[tuple[CountedTag, ...]]:
    """Tags that begin like this."""
    params: dict[str, str | int] = {"prefix": prefix, "limit": limit}
    return Call("GET", "/v1/tags", lambda response: answer_as(CountedTags)(response).tags, params=params)


def image(image_id: str) -> Call[Image]:
    """What the catalogue knows of a picture."""
    return Call("GET", image_path(image_id), answer_as(Image))


def neighbors(image_id: str) -> Call[Neighbors]:
    """The edges of a picture in the graph."""
    return Call("GET", image_path(image_id, "/neighbors"), answer_as(Neighbors))


def thumbnail(image_id: str) -> Call[File]:
    """A small copy of a picture."""
    return Call("GET", image_path(image_id, "/thumbnail"), _file)


def file(image_id: str) -> Call[File]:
    """The original of a picture."""
    return Call("GET", image_path(image_id, "/file"), _file)


def index() -> Call[Index]:
    """What is being served."""
    return Call("GET", "/v1/index", answer_as(Index))


def ready() -> Call[Readiness]:
    """Whether questions can be answered now; so 503 is an answer, not a reason to wait."""
    return Call("GET", "/readyz", answer_as(Readiness), retried=False)


def answer_as(kind: type[M]) -> Callable[[httpx.Response], M]:
    """What makes the dataclass `kind` out of a JSON answer."""
    return lambda response: read(kind, response.json())


def _file(response: httpx.Response) -> File:
    return File(response.content, response.headers.get("content-type", "application/octet-stream"))


def image_path(image_id: str, part: str = "") -> str:
    """Where a picture is, or a part of it."""
    return f"/v1/images/{_MISTAKEN.get(image_id) or quote(image_id, safe='')}{part}"
