"""From the body of a request to what the search takes: query, filter, cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from app.api.filter_schemas import Condition, Filter
from app.api.schemas import ImageRef, SearchOptions, SearchRequest
from app.cursor import BadCursor, Cursor, check_seal, fingerprint
from app.filtering import TAGS, Clause, RowFilter
from app.picture_finder import LONG_TEXT, Picture
from app.request_errors import InvalidRequest
from gnn.query import Query, QueryTag
from graph_store.errors import BadInput, EmptyQuery
from graph_store.tag_names import normalise_tag

_NOT_ASKED: dict[str, Any] = {"cursor": True, "limit": True, "explain": True}


def query_of(options: SearchOptions, pictures: Sequence[Picture]) -> Query:
    """The query. Raises InvalidRequest for a tag that is none, EmptyQuery when nothing has a weight.

    pictures: those of the question that have a weight; where there are several, each has features.
    """
    tags = tuple(
        QueryTag(_tag_name(tag.name, f"/tags/{number}"), tag.weight)
        for number, tag in enumerate(options.tags)
        if tag.weight
    )
    if not pictures and not tags and options.text is None:
        raise EmptyQuery("All parts of the query have weight 0", hint="Give one of them a weight.")
    if not pictures:
        return Query(images=None, tags=tags, text=options.text, attach=options.attach)
    if len(pictures) == 1 and pictures[0].weight > 0:
        return Query(
            images=pictures[0].features,
            tags=tags,
            text=options.text,
            attach=options.attach,
            indexed_row=pictures[0].row,
        )
    return Query(
        images=np.concatenate([each.features for each in pictures if each.features is not None]),
        image_weights=tuple(each.weight for each in pictures),
        image_rows=tuple(each.row for each in pictures),
        tags=tags,
        text=options.text,
        attach=options.attach,
    )


def _tag_name(name: str, pointer: str) -> str:
    try:
        return normalise_tag(name)
    except BadInput as error:
        raise InvalidRequest.at(pointer, error.message) from error


def row_filter_of(asked: Filter) -> RowFilter:
    """The filter of a request. It goes through every name in it, so it belongs in a thread.

    Raises InvalidRequest for a tag that is none.
    """
    return RowFilter(
        tuple(_clauses(asked.must, "/filter/must")),
        tuple(_clauses(asked.should, "/filter/should")),
        tuple(_clauses(asked.must_not, "/filter/must_not")),
    )


def _clauses(conditions: Sequence[Condition], pointer: str) -> Iterator[Clause]:
    for number, condition in enumerate(conditions):
        clause = _clause(condition)
        if clause.key == TAGS and clause.operator != "exists":
            for name in clause.value if clause.operator == "any" else [clause.value]:
                _tag_name(name, f"{pointer}/{number}")
        yield clause


def _clause(condition: Condition) -> Clause:
    if condition.range is not None:
        return Clause(condition.key, "range", condition.range)
    if condition.any is not None:
        return Clause(condition.key, "any", condition.any)
    if condition.exists is not None:
        return Clause(condition.key, "exists", condition.exists)
    return Clause(condition.key, "match", condition.match)


def question_of(options: SearchOptions, upload: bytes | None) -> str:
    """The fingerprint of what is asked, for cursors: equal for all pages of one question."""
    pictures = _pictures_in(options)
    asked = options.model_dump_json(exclude=_NOT_ASKED | _without_bytes(options))
    # Pictures are not written out as JSON first: that would hold up every other thread.
    parts = [data.encode("utf-8", "surrogatepass") for data in pictures]
    return fingerprint(asked.encode("utf-8", "surrogatepass"), upload or b"", *parts)


def is_large(options: SearchOptions, upload: bytes | None) -> bool:
    """Whether a question carries so many bytes of pictures that to go through them takes a thread."""
    return len(upload or b"") + sum(map(len, _pictures_in(options))) >= LONG_TEXT


def _pictures_in(options: SearchOptions) -> list[str]:
    """The pictures that a question itself holds, in base64."""
    return [each.data for each in _named_by(options) if each.data is not None]


def _named_by(options: SearchOptions) -> Sequence[ImageRef]:
    image = options.image if isinstance(options, SearchRequest) else None
    return () if image is None else (image,) if isinstance(image, ImageRef) else image


def _without_bytes(options: SearchOptions) -> dict[str, Any]:
    """What to leave out of the JSON of a question, so that it is short."""
    named = _named_by(options)
    held = {number: {"data": True} for number, each in enumerate(named) if each.data is not None}
    if not held:
        return {}
    assert isinstance(options, SearchRequest)
    return {"image": held[0] if isinstance(options.image, ImageRef) else held}


def cursor_of(text: str, question: str) -> Cursor:
    """What the cursor in a request says. Raises InvalidRequest when it is none, or another question's."""
    with _pointed_at():
        cursor = Cursor.decode(text)
    if cursor.question != question:
        raise InvalidRequest.at("/cursor", "this cursor belongs to another question; repeat the same one")
    return cursor


def check_cursor(text: str, key: bytes) -> None:
    """Raises InvalidRequest when the cursor in a request was not made with the key of its snapshot."""
    with _pointed_at():
        check_seal(text, key)


@contextmanager
def _pointed_at() -> Iterator[None]:
    try:
        yield
    except BadCursor as error:
        raise InvalidRequest.at("/cursor", str(error)) from error
