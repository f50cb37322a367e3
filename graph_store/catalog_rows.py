"""How records become rows of the catalogue and rows become records."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any, TypeVar

import orjson

from graph_store.errors import BadInput
from graph_store.records import ImageRecord, Split, Tag, weight_fault
from graph_store.tag_names import normalise_tag, tag_key

ImageRow = tuple[Any, ...]
T = TypeVar("T")

_COLUMNS = (
    "i.pk, i.id, i.path, i.split, i.caption, i.attributes, i.sha256, i.width, i.height, i.row, i.fingerprint"
)
_NUM_COLUMNS = 11

SELECT_RECORDS = f"""
SELECT {_COLUMNS}, t.name, it.weight
FROM image i LEFT JOIN image_tag it ON it.image = i.pk LEFT JOIN tag t ON t.pk = it.tag
"""

_IMAGES_AT_ONCE, _MOST_SPREAD = 5000, 4

INSERT_IMAGE = "INSERT INTO image VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def records_from(rows: Iterable[ImageRow]) -> Iterator[ImageRecord]:
    """Fold the rows of SELECT_RECORDS, which come together for each image and in the order of its tags."""
    for _, group in itertools.groupby(rows, key=itemgetter(0)):
        image, *rest = group
        name, weight = _NUM_COLUMNS, _NUM_COLUMNS + 1
        yield _record(image, (Tag(row[name], row[weight]) for row in (image, *rest) if row[name] is not None))


def all_records(connection: sqlite3.Connection, split: Split | None) -> Iterator[ImageRecord]:
    """Every record, or those of one split, in the order of their feature rows, inside one transaction.

    Thousands of images and then their tags, which lie together: joined row by row it takes twice as
    long.
    """
    # A million images share their tags of weight 1: most of what they would take.
    plain = {number: Tag(name) for number, name in connection.execute("SELECT pk, name FROM tag")}
    images = connection.execute(
        f"SELECT {_COLUMNS} FROM image i WHERE ? IS NULL OR i.split = ? ORDER BY i.row", (split, split)
    )
    while some := images.fetchmany(_IMAGES_AT_ONCE):
        tags: dict[int, list[Tag]] = {image[0]: [] for image in some}
        for image, number, weight in _tags_of(connection, list(tags)):
            if image in tags:
                tag = plain[number]
                tags[image].append(tag if weight == 1.0 else Tag(tag.name, weight))
        for image in some:
            yield _record(image, tags[image[0]])


def _tags_of(connection: sqlite3.Connection, images: list[int]) -> Iterator[tuple[int, int, float]]:
    """(image, tag, weight) of these images in the order of their tags, and perhaps of some between them."""
    query = "SELECT image, tag, weight FROM image_tag WHERE image"
    first, last = min(images), max(images)
    if last - first < _MOST_SPREAD * len(images):
        yield from connection.execute(f"{query} BETWEEN ? AND ? ORDER BY image, position", (first, last))
        return
    for some in chunks(sorted(images)):
        marks = ",".join("?" * len(some))
        yield from connection.execute(f"{query} IN ({marks}) ORDER BY image, position", some)


def _record(image: ImageRow, tags: Iterable[Tag]) -> ImageRecord:
    return ImageRecord(
        id=image[1],
        path=image[2],
        tags=tuple(tags),
        split=image[3],
        caption=image[4],
        attributes=orjson.loads(image[5]),
        sha256=image[6],
        width=image[7],
        height=image[8],
        row=image[9],
        fingerprint=image[10],
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
        if fault := weight_fault(tag.weight):
            raise BadInput(
                f"The tag {tag.name[:30]!r} of image {record.id!r} has weight {tag.weight}, which {fault}"
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


def chunks(items: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """Lists of at most `size`, for statements with one question mark for each item."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
