"""Reading a request's body into a model, straight from its bytes, and describing it in OpenAPI."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.access import needed_scope
from app.api.problems import validation_errors
from app.api.schemas import MOST_VALUES, SearchOptions
from app.request_errors import InvalidRequest, RequestError, UnsupportedMediaType

M = TypeVar("M", bound=BaseModel)

_QUERY = "#form/query"

_MOST_VALUES_WRITTEN = 1_000_000
"""How many values the body of a write may hold: more than 256 pictures with 1000 weighted tags each."""
_IN_A_THREAD = 2**14
"""Bytes of JSON from which on it is read in a thread: it may hold thousands of values."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


async def json_body(request: Request, model: type[M]) -> M:
    """The body as a `model`. Raises InvalidRequest, which points at the wrong parts; UnsupportedMediaType."""
    media_type = request.headers.get("content-type")
    writes = needed_scope(request.method, request.scope["path"]) == "write"
    if media_type is None and (writes or "origin" in request.headers):
        # A page of another site can have the browser send a body without a type unasked (CORS: "simple").
        media_type = "of no type"
    if media_type is not None and not _is_json(media_type):
        raise UnsupportedMediaType(
            f"The body is {media_type}, and this call takes application/json",
            hint="Send the header Content-Type: application/json.",
        )
    return await _parsed(await request.body(), model, most=_MOST_VALUES_WRITTEN if writes else MOST_VALUES)


async def _parsed(body: bytes, model: type[M], prefix: str = "", most: int = MOST_VALUES) -> M:
    if len(body) < _IN_A_THREAD:
        return parse(body, model, prefix, most)
    return await asyncio.to_thread(parse, body, model, prefix, most)


def parse(body: bytes, model: type[M], prefix: str = "", most: int = MOST_VALUES) -> M:
    """JSON bytes as a `model`. Raises InvalidRequest, also for more than `most` values in all; its pointers
    begin with `prefix`.
    """
    _check_number(body, prefix, most)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        errors = [(prefix + where, what) for where, what in validation_errors(error)]
        raise InvalidRequest("The request is not valid", errors=errors) from error


def _check_number(body: bytes, prefix: str, most: int) -> None:
    """Raises InvalidRequest where JSON holds more than `most` elements and fields.

    Counted before it is read: three bytes of it can become a hundred and fifty, and each its own error.
    """
    values = _openings_and_commas(body)
    if values > most:
        values = _openings_and_commas(_STRING.sub(b"", body))
    if values > most:
        raise InvalidRequest.at(prefix, f"it holds {values:,} values in all, and may hold {most:,}")


def _openings_and_commas(body: bytes) -> int:
    """As many as there are elements and fields in JSON, where an empty list or object counts as one."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _is_json(media_type: str) -> bool:
    kind = media_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def upload_body(request: Request) -> tuple[SearchOptions, bytes]:
    """The parts `query` (JSON, may be left out) and `image` (a file). Raises InvalidRequest,
    UnsupportedMediaType.
    """
    media_type = request.headers.get("content-type", "nothing")
    kind, options = parse_options_header(media_type)
    if kind != b"multipart/form-data":
        raise UnsupportedMediaType(
            f"The body is {media_type}, and this call takes multipart/form-data",
            hint="Send the parts image (a file) and query (JSON).",
        )
    # The form would be decoded by whatever codec of Python's is named here, and some are no character sets.
    charset = options.get(b"charset", b"utf-8")
    if charset.lower() not in (b"utf-8", b"us-ascii"):
        raise UnsupportedMediaType(
            f"The form is in {charset[:40].decode('latin-1')!r}", hint="Send it in UTF-8."
        )
    async with _form(request) as form:
        unknown = sorted(set(form) - {"image", "query"})
        if unknown:
            raise InvalidRequest(
                "The request is not valid",
                errors=[
                    (f"#form/{name}", "there is no such part; the parts are image and query")
                    for name in unknown
                ],
            )
        picture = await _part(form, "image")
        if not picture:
            raise InvalidRequest.at("#form/image", "give the picture as a file in this part")
        query = await _part(form, "query")
    return await _parsed(query or b"{}", SearchOptions, _QUERY), picture


@contextmanager
def asked_in_form() -> Iterator[None]:
    """Let what is wrong with a question be pointed at where it came from: the part `query` of a form."""
    try:
        yield
    except RequestError as error:
        error.errors = tuple(
            (f"{_QUERY}{where}" if where.startswith("/") else where, what) for where, what in error.errors
        )
        raise


class _InMemory(MultiPartParser):
    """A parser that writes no file: a form may not be larger than any other body, and those are held too. A
    full /tmp then costs nobody an answer.
    """

    spool_max_size = 0  # as for a SpooledTemporaryFile: no limit


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    """The parts of a form, as `request.form` gives them."""
    async with aclosing(request.stream()) as body:
        try:
            form = await _InMemory(request.headers, body, max_files=2, max_fields=2).parse()
        except MultiPartException as error:
            raise HTTPException(400, error.message) from error
    try:
        yield form
    finally:
        await form.close()


async def _part(form: FormData, name: str) -> bytes:
    parts = form.getlist(name)
    if len(parts) > 1:
        raise InvalidRequest.at(f"#form/{name}", f"there are {len(parts)} parts of this name")
    if not parts:
        return b""
    part = parts[0]
    return await part.read() if isinstance(part, UploadFile) else part.encode("utf-8", "surrogateescape")


def describes_json(model: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a call whose body is a `model`."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}},
        }
    }


def describes_upload() -> dict[str, Any]:
    """`openapi_extra` of a call that takes a picture and a question about it."""
    schema = {
        "type": "object",
        "required": ["image"],
        "additionalProperties": False,
        "properties": {
            "image": {"type": "string", "format": "binary", "description": "The picture file."},
            "query": {"$ref": "#/components/schemas/SearchOptions"},
        },
    }
    encoding = {"query": {"contentType": "application/json"}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": schema,
                    "encoding": encoding,
                    "examples": {
                        "a picture and a tag": {
                            "value": {"image": "(the bytes of the file)", "query": {"tags": ["dog"]}}
                        }
                    },
                }
            },
        }
    }
