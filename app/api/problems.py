"""Every error as an RFC 9457 problem: `application/problem+json`, with a pointer to each wrong part of the
request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from app.api.schemas import ONE_PICTURE, SEVERAL_PICTURES
from app.keys import without_keys
from app.request_errors import QueryOfBatch, RequestError
from graph_store.errors import ImsageError

PROBLEM_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:imsage:problem:"
_MOST_ERRORS = 100
"""So many wrong parts are named; nobody reads more."""
_MOST_LOOKED_AT = 1000
"""Pydantic makes a list of all errors or none, which takes a microsecond and hundreds of bytes for each."""


class ProblemError(BaseModel):
    """One wrong part of the request."""

    pointer: str = Field(
        description="A JSON pointer into the body, or #query/NAME, #path/NAME, #header/NAME.",
        examples=["/visual_weight"],
    )
    detail: str = Field(examples=["Input should be less than or equal to 1"])


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(
        description="A stable name of the kind of error.", examples=["urn:imsage:problem:bad-input"]
    )
    title: str = Field(description="The kind of error in words.", examples=["Bad input"])
    status: int = Field(description="The HTTP status, again.", examples=[422])
    detail: str = Field(description="What is wrong this time, and what to do about it.")
    instance: str = Field(description="The path that was asked.", examples=["/v1/search"])
    errors: list[ProblemError] = Field(
        description="Which parts of the request are wrong: the first hundred; may be empty."
    )


def problem(
    request: Request,
    code: str,
    status: int,
    detail: str,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response for one problem."""
    return Response(
        problem_bytes(request.url.path, code, status, detail, errors),
        status_code=status,
        headers=dict(headers or {}),
        media_type=PROBLEM_TYPE,
    )


def problem_bytes(
    path: str, code: str, status: int, detail: str, errors: Sequence[tuple[str, str]] = ()
) -> bytes:
    """The body for one problem."""
    return without_keys(orjson.dumps(problem_body(path, code, status, detail, errors)))


def problem_body(
    path: str, code: str, status: int, detail: str, errors: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """One problem as a JSON value."""
    return {
        "type": _TYPE_PREFIX + code,
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": _encodable(detail),
        "instance": _encodable(path),
        "errors": [{"pointer": _encodable(p), "detail": _encodable(d)} for p, d in errors],
    }


def problem_of(error: ImsageError, path: str) -> dict[str, Any]:
    """What an answer of several parts says of the one that failed."""
    errors = error.errors if isinstance(error, RequestError) else ()
    return problem_body(path, error.code, error.status, str(error), errors)


def _encodable(text: str) -> str:
    # A JSON body may hold a lone surrogate, and an error message may quote it.
    return text.encode("utf-8", "replace").decode("utf-8")


def pointer(location: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901) for a pydantic location inside the body."""
    named = (str(part) for part in location if part not in (ONE_PICTURE, SEVERAL_PICTURES))
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in named)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def validation_errors(error: ValidationError) -> list[tuple[str, str]]:
    """(pointer, detail) for the wrong parts of a body: for the first ones, and one with their number, where
    there are many.
    """
    count = error.error_count()
    if count > _MOST_LOOKED_AT:
        return [("", f"{count:,} parts of it are wrong, too many to name")]
    items = error.errors(include_url=False, include_context=False, include_input=False)
    return _first([(pointer(item["loc"]), _plain(item["msg"])) for item in items])


def _first(errors: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The first hundred, and how many more there are."""
    left = len(errors) - _MOST_ERRORS
    return errors if left <= 0 else [*errors[:_MOST_ERRORS], ("", f"{left:,} more parts are wrong")]


async def _on_request_validation(request: Request, error: Exception) -> Response:
    errors = []
    for item in cast(RequestValidationError, error).errors():
        where, *location = item["loc"]
        errors.append((f"#{where}{pointer(location)}", _plain(item["msg"])))
    return problem(request, "invalid-request", 422, "The request is not valid", _first(errors))


async def _on_imsage_error(request: Request, error: Exception) -> Response:
    known = cast(ImsageError, error)
    detail, prefix = str(known), ""
    if isinstance(known, QueryOfBatch):
        prefix, known = known.prefix, known.cause
    errors = known.errors if isinstance(known, RequestError) else ()
    headers = {"Retry-After": "5"} if known.status == 503 else None
    located = [(prefix + where, what) for where, what in errors] or ([(prefix, detail)] if prefix else [])
    return problem(request, known.code, known.status, detail, located, headers)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    known = cast(HTTPException, error)
    phrase = HTTPStatus(known.status_code).phrase
    detail = {
        404: f"There is nothing at {request.url.path}",
        405: f"{request.method} is not possible at {request.url.path}",
    }.get(known.status_code, str(known.detail))
    code = phrase.lower().replace(" ", "-").replace("'", "")
    headers = {"Allow": _methods_at(request)} if known.status_code == 405 else dict(known.headers or {})
    return problem(request, code, known.status_code, detail, headers=headers)


_OF_FILES = "GET, HEAD"
"""What the page's files take, which are no routes."""


def _methods_at(request: Request) -> str:
    """What the path of a request takes: its routes may be several, and each knows only its own method. Of
    paths that fit, the one that spells out most of it is meant.
    """
    by_path: dict[str, set[str]] = {}
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE:
            by_path.setdefault(route.path, set()).update(route.methods or ())
    if not by_path:
        return _OF_FILES
    methods = by_path[max(by_path, key=lambda path: len(re.sub(r"\{[^}]*\}", "", path)))]
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def install(app: FastAPI) -> None:
    """Make every error of the application a problem. (Unexpected ones: see middleware.)"""
    app.add_exception_handler(RequestValidationError, _on_request_validation)
    app.add_exception_handler(ImsageError, _on_imsage_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


_DESCRIPTIONS = {
    400: "The request could not be read",
    401: "An API key is needed, and there is none or it is not known",
    403: "A setting of this server leaves that off, it is a replica, or the API key may not do it",
    404: "Nothing has that name",
    405: "This path is not for that method; Allow says which it takes",
    409: (
        "The encoder at hand is not the one that made the snapshot's features, "
        "or another process keeps the data directory to itself"
    ),
    410: "The snapshot that the cursor is pinned to is gone",
    413: "The body is larger than the setting max_body_bytes",
    415: "The body is not JSON",
    416: "The file has nothing in the range that is asked for; Content-Range says how long it is",
    422: "The request is not valid; errors names each wrong part",
    429: "This client asks too often; Retry-After says when to come again",
    500: "A fault of the service or of its files",
    503: (
        "There is nothing to serve yet, a part that this call needs is missing, the service is too busy, or "
        "another process keeps the data directory from being written; "
        "Retry-After says when to come again"
    ),
    507: "The data directory cannot be written: the disk is full or it is read-only",
}
_CODES = {
    400: "bad-request",
    401: "unauthorized",
    403: "setting-off",
    404: "not-found",
    405: "method-not-allowed",
    409: "encoder-mismatch",
    410: "cursor-gone",
    413: "body-too-large",
    415: "unsupported-media-type",
    416: "range-not-satisfiable",
    422: "invalid-request",
    429: "too-many-requests",
    500: "corrupt-file",
    503: "nothing-to-serve",
    507: "unwritable",
}


def described_header(description: str, example: str | int, *, always: bool = True) -> dict[str, Any]:
    """OpenAPI for a header of a response; `always` where it is never left out."""
    kind = "integer" if isinstance(example, int) else "string"
    return {"description": description, "required": always, "schema": {"type": kind}, "example": example}


_AGAIN = {"Retry-After": described_header("Seconds after which to ask again.", 5)}
_HEADERS = {
    401: {"WWW-Authenticate": described_header("The kind of key that is needed.", 'Bearer realm="imsage"')},
    403: {
        "WWW-Authenticate": described_header(
            "The scope that the key would need, where it is for that that the call is refused.",
            'Bearer realm="imsage", error="insufficient_scope", scope="write"',
            always=False,
        )
    },
    405: {"Allow": described_header("The methods that the path takes.", "GET, HEAD")},
    416: {"Content-Range": described_header("How many bytes the file has.", "bytes */9041")},
    429: _AGAIN,
    503: _AGAIN,
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for the problems that a call may answer with, each with an example."""
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "headers": _HEADERS.get(status, {}),
            "content": {
                PROBLEM_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": {
                        "type": _TYPE_PREFIX + _CODES[status],
                        "title": _CODES[status].replace("-", " ").capitalize(),
                        "status": status,
                        "detail": _DESCRIPTIONS[status],
                        "instance": "/v1/search",
                        "errors": [
                            {"pointer": "/visual_weight", "detail": "Input should be less than or equal to 1"}
                        ]
                        if status == 422
                        else [],
                    },
                }
            },
        }
        for status in statuses
    }
