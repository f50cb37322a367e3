"""How records become rows of the catalogue and rows become records."""

from __future__ import annotations

import itertools
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import orjson

from graph_store.errors import BadInput
from graph_store.records import ImageRecord, Tag
from graph_store.tag_names import normalise_tag, tag_key

ImageRow = tuple[Any, ...]

SELECT_RECORDS = """
SELECT i.pk, i.id, i.path, i.split, i.caption, i.attributes, i.sha256, i.width, i.height, i.row,
i.fingerprint,
       t.name, it.weight
FROM image i LEFT JOIN image_tag it ON it.image = i.pk LEFT JOIN tag t ON t.pk = it.tag
"""

INSERT_IMAGE = "INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def records_from(rows: Iterable[ImageRow]) -> Iterator[ImageRecord]:
    """Fold the rows of SELECT_RECORDS, which come together for each image and in the order of its tags."""
    plain: dict[str, Tag] = {}  # a million images share their tags of weight 1: most of what they would take

    def tag(name: str, weight: float) -> Tag:
        return plain.setdefault(name, Tag(name)) if weight == 1.0 else Tag(name, weight)

    for _, group in itertools.groupby(rows, key=itemgetter(0)):
        image, *rest = group
        yield ImageRecord(
            id=image[1],
            path=image[2],
            split=image[3],
            caption=image[4],
            attributes=orjson.loads(image[5]),
            sha256=image[6],
            width=image[7],
            height=image[8],
            row=image[9],
            fingerprint=image[10],
            tags=tuple(tag(row[11], row[12]) for row in (image, *rest) if row[11] is not None),
        )


def image_row(pk: int, record: ImageRecord) -> ImageRow:
    """The columns of table `image`. Raises BadInput for an empty id, a bad split or attributes that are no
    JSON.
    """
    if not record.id:
        raise BadInput("An image has an empty id")
    if record.split not in ("train", "test"):
        raise BadInput(f"The image {record.id!r} has split {record.split!r}; it must be 'train' or 'test'")
    if record.row < 0:
        raise BadInput(f"The image {record.id!r} has feature row {record.row}")
    return (
        pk,
        record.id,
        record.row,
        record.path,
        record.split,
        record.caption,
        _attributes(record),
        record.sha256,
        record.width,
        record.height,
        record.fingerprint,
    )


def _attributes(record: ImageRecord) -> str:
    try:
        text = orjson.dumps(record.attributes, option=orjson.OPT_PASSTHROUGH_DATACLASS).decode()
        # orjson writes NaN and infinity as null without a word; the standard library refuses them.
        json.dumps(record.attributes, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"The attributes of image {record.id!r} are no valid JSON: {error}") from error
    return text


def clean_tags(record: ImageRecord) -> dict[str, Tag]:
    """The tags by key, in order. Of two spellings of one tag the first is kept, with the larger weight."""
    tags: dict[str, Tag] = {}
    for tag in record.tags:
        if not (math.isfinite(tag.weight) and tag.weight > 0):
            raise BadInput(
                f"The tag {tag.name[:30]!r} of image {record.id!r} has weight {tag.weight}, not above 0"
            )
        name, key = normalise_tag(tag.name), tag_key(tag.name)
        known = tags.get(key)
        tags[key] = (
            Tag(name, float(tag.weight)) if known is None else Tag(known.name, max(known.weight, tag.weight))
        )
    return tags


def tag_numbers(connection: sqlite3.Connection, names: dict[str, str]) -> dict[str, int]:
    """The number of each tag in `names` (key → spelling), new ones added. An older spelling stays."""
    connection.executemany(
        "INSERT INTO tag (name, key) VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
        [(name, key) for key, name in names.items()],
    )
    numbers: dict[str, int] = {}
    for keys in chunks(names):
        marks = ",".join("?" * len(keys))
        numbers.update(connection.execute(f"SELECT key, pk FROM tag WHERE key IN ({marks})", keys))
    return numbers


def chunks(items: Iterable[str], size: int = 500) -> Iterator[list[str]]:
    """Lists of at most `size`, for statements with one question mark for each item."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
