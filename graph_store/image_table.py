"""What a reindex and training need of all images of a catalogue, as columns."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from graph_store.arrays import Float64Array, Int64Array
from graph_store.csr import Csr
from graph_store.records import LEAST_WEIGHT, MOST_WEIGHT, ImageRecord, Split
from graph_store.sqlite import damaged

_AT_ONCE = 65_536
_NO_ATTRIBUTES = "{}"


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Images in the order of their feature rows. They are read in less than half of the time that an object
    for each takes.

    ids, sha256s, attributes (JSON objects) have one entry for each image, rows its row in the feature file.
    tag_names: sorted, those that an image here carries; the tags of image i, in its own order, are the slice
    tag_ends[i] to tag_ends[i + 1] of `tags`, numbers of names, and of their weights.
    """

    ids: tuple[str, ...]
    rows: Int64Array
    sha256s: tuple[str | None, ...] = field(repr=False)
    attributes: tuple[str, ...] = field(repr=False)
    tag_names: tuple[str, ...]
    tag_ends: Int64Array
    tags: Int64Array
    weights: Float64Array

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, records: Iterable[ImageRecord]) -> ImageTable:
        """The table of records that are in memory already."""
        records = list(records)
        names = tuple(sorted({tag.name for record in records for tag in record.tags}))
        number = {name: i for i, name in enumerate(names)}
        degrees = [len(record.tags) for record in records]
        return cls(
            tuple(record.id for record in records),
            np.array([record.row for record in records], dtype=np.int64),
            tuple(record.sha256 for record in records),
            tuple(orjson.dumps(record.attributes).decode() for record in records),
            names,
            np.concatenate([[0], np.cumsum(degrees, dtype=np.int64)]),
            np.array([number[tag.name] for record in records for tag in record.tags], dtype=np.int64),
            np.array([tag.weight for record in records for tag in record.tags], dtype=np.float64),
        )

    def take(self, rows: Int64Array | Sequence[int]) -> ImageTable:
        """These images only, in this order; names that none of them carries stay."""
        places = np.asarray(rows, dtype=np.int64)
        degrees = self.tag_ends[places + 1] - self.tag_ends[places]
        ends = np.concatenate([[0], np.cumsum(degrees)])
        edges = np.repeat(self.tag_ends[places] - ends[:-1], degrees) + np.arange(int(ends[-1]))
        chosen = places.tolist()
        return ImageTable(
            tuple(self.ids[place] for place in chosen),
            self.rows[places],
            tuple(self.sha256s[place] for place in chosen),
            tuple(self.attributes[place] for place in chosen),
            self.tag_names,
            ends,
            self.tags[edges],
            self.weights[edges],
        )

    def has(self) -> Csr:
        """The tags of each image as edges to the numbers of `tag_names`. Weights that are refused today, and
        were not always, count as the nearest that is allowed.
        """
        weights = self.weights.clip(LEAST_WEIGHT, MOST_WEIGHT).astype(np.float32)
        return Csr(self.tag_ends, self.tags, weights)

    def facts(self) -> Iterator[bytes]:
        """Everything that is in the table, in parts: for a checksum."""
        for start in range(0, len(self), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            yield orjson.dumps((self.ids[part], self.sha256s[part], self.attributes[part]))
        yield orjson.dumps(self.tag_names)
        for column in (self.rows, self.tag_ends, self.tags, self.weights):
            yield np.ascontiguousarray(column).tobytes()

    def fragments(self) -> Iterator[tuple[str, bytes]]:
        """Each image's id and what a hit shows of it (:func:`graph_store.record_table.fragment_of`)."""
        openings = [b'{"name":%b,"weight":' % orjson.dumps(name) for name in self.tag_names]
        plain = [b"%b1.0}" % opening for opening in openings]
        ends = self.tag_ends.tolist()
        for start in range(0, len(self), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(self))
            span = slice(ends[start], ends[stop])
            told = [
                plain[tag] if weight == 1.0 else b"%b%b}" % (openings[tag], orjson.dumps(weight))
                for tag, weight in zip(self.tags[span].tolist(), self.weights[span].tolist(), strict=True)
            ]
            for place in range(start, stop):
                tags = b",".join(told[ends[place] - ends[start] : ends[place + 1] - ends[start]])
                attributes = self.attributes[place].encode()
                yield self.ids[place], b'{"tags":[%b],"attributes":%b}' % (tags, attributes)


def read_table(connection: sqlite3.Connection, split: Split, path: Path) -> ImageTable:
    """The images of one split, inside one transaction of the database at `path`.

    Raises what SQLite and orjson raise where it is damaged, and CorruptFile for a tag that is not there.
    """
    keys, ids, rows, sha256s, attributes = _images(connection, split)
    names = dict(connection.execute("SELECT pk, name FROM tag"))
    images, numbers, weights = _edges(connection)
    # An edge of an image of the other split has no place here.
    order = np.argsort(keys, kind="stable")
    found = np.searchsorted(keys[order], images)
    ours = np.flatnonzero(_at(keys[order], found) == images)
    at, numbers, weights = order[found[ours]], numbers[ours], weights[ours]
    by_row = np.argsort(at, kind="stable")
    at, numbers, weights = at[by_row], numbers[by_row], weights[by_row]
    used = np.unique(numbers)
    lost = [number for number in used.tolist() if number not in names]
    if lost:
        raise damaged(path, f"images carry a tag, number {lost[0]}, that is not in it")
    by_name = sorted(range(len(used)), key=lambda place: names[int(used[place])])
    rank = np.empty(len(used), dtype=np.int64)
    rank[by_name] = np.arange(len(used))
    return ImageTable(
        ids,
        rows,
        sha256s,
        attributes,
        tuple(names[int(used[place])] for place in by_name),
        np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(ids)))]).astype(np.int64),
        rank[np.searchsorted(used, numbers)],
        weights,
    )


def _images(
    connection: sqlite3.Connection, split: Split
) -> tuple[Int64Array, tuple[str, ...], Int64Array, tuple[str | None, ...], tuple[str, ...]]:
    """Key, id, row, sha256 and attributes of each image, in the order of the rows."""
    # By key, as they lie in the file, which is the order of the rows in most catalogues.
    cursor = connection.execute(
        "SELECT pk, id, row, sha256, attributes FROM image WHERE split = ? ORDER BY pk", (split,)
    )
    columns: tuple[list[Any], ...] = ([], [], [], [], [])
    while some := cursor.fetchmany(_AT_ONCE):
        for column, values in zip(columns, zip(*some, strict=True), strict=True):
            column.extend(values)
        # They are handed on as they are, so it is here that a damaged one must be noticed. Most are alike.
        for text in {attributes for *_, attributes in some} - {_NO_ATTRIBUTES}:
            orjson.loads(text)
    order = np.argsort(np.array(columns[2], dtype=np.int64), kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        places = order.tolist()
        columns = tuple([column[place] for place in places] for column in columns)
    keys, ids, rows, sha256s, attributes = columns
    return (
        np.array(keys, dtype=np.int64),
        tuple(ids),
        np.array(rows, dtype=np.int64),
        tuple(sha256s),
        tuple(attributes),
    )


def _edges(connection: sqlite3.Connection) -> tuple[Int64Array, Int64Array, Float64Array]:
    """Image, tag and weight of each edge, all numbers of the database, by image and in the image's order."""
    cursor = connection.execute("SELECT image, tag, weight FROM image_tag ORDER BY image, position")
    parts = [np.zeros((0, 3))]
    while some := cursor.fetchmany(_AT_ONCE):
        # Keys are exact as float64: SQLite counts them up from 1.
        flat = np.fromiter(itertools.chain.from_iterable(some), np.float64, 3 * len(some))
        parts.append(flat.reshape(-1, 3))
    edges = np.concatenate(parts)
    return edges[:, 0].astype(np.int64), edges[:, 1].astype(np.int64), edges[:, 2].copy()


def _at(keys: Int64Array, places: Int64Array) -> Int64Array:
    """The key at each place, -1 beyond the last."""
    return np.append(keys, -1)[places]
