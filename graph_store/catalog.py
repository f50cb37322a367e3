"""The durable record of images, tags and attributes, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from graph_store import catalog_changes, catalog_removals, catalog_rows, catalog_schema
from graph_store.catalog_changes import Change, Changes
from graph_store.errors import BadInput, NotFound
from graph_store.image_table import ImageTable, read_table
from graph_store.records import ImageRecord, Place, Skip, Split
from graph_store.sqlite import Connections, translating_errors


class Catalog:
    """Images by id. Every writing method is one transaction, on the disk when the method returns.

    It may be used from several threads, each of which has its own connection, and by several processes;
    readers go on reading the last committed state while a writer works. All methods raise CorruptFile when
    the file is damaged, and the writing ones raise Unwritable when the disk is full or read-only.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._up_to_date = False

    @classmethod
    def open(cls, path: Path, create: bool = False, *, again: bool = False) -> Catalog:
        """Open the catalogue at `path`, and make it when `create` is set.

        Raises NothingToServe when there is none, and CorruptFile when it is damaged: small files are read
        whole here, large ones only in `check`. again: the caller has just had it open, and it was sound.
        """
        if create:
            catalog_schema.make_if_new(path)
        connections = Connections(path)
        try:
            catalog_schema.check(connections, again=again)
        except BaseException:
            connections.close()
            raise
        return cls(connections)

    def close(self) -> None:
        """Close the connections of all threads."""
        self._connections.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def check(self) -> None:
        """Read every page of the file, however large, and compare indexes with their tables. Raises
        CorruptFile.
        """
        catalog_schema.check_pages(self._connections, whole=True)

    # -- images
    # ------------------------------------------------------------------------------------------------

    def upsert(self, records: Sequence[ImageRecord]) -> frozenset[str]:
        """Store the records; one whose id is known replaces the old one whole. All are stored or none.
        Returns the ids of those that a `delete` was told to remember; they are remembered no more.

        Of two records with one id in the same call the last counts. Raises BadInput when a tag, a weight, an
        id or an attribute is not valid, or when a feature row belongs to another image.
        """
        latest = {record.id: record for record in records}
        cleaned = {record.id: catalog_rows.clean_tags(record) for record in latest.values()}
        spellings: dict[str, str] = {}
        for tags in cleaned.values():
            for key, tag in tags.items():
                spellings.setdefault(key, tag.name)
        with self._changing() as connection:
            connection.executemany("DELETE FROM image WHERE id = ?", [(image_id,) for image_id in latest])
            numbers = catalog_rows.tag_numbers(connection, spellings)
            first = connection.execute("SELECT coalesce(max(pk), 0) + 1 FROM image").fetchone()[0]
            rows = [catalog_rows.image_row(first + i, record) for i, record in enumerate(latest.values())]
            _refuse_taken_rows(connection, latest.values())
            connection.executemany(catalog_rows.INSERT_IMAGE, rows)
            connection.executemany(
                "INSERT INTO image_tag VALUES (?, ?, ?, ?)",
                [
                    (first + i, position, numbers[key], tag.weight)
                    for i, tags in enumerate(cleaned.values())
                    for position, (key, tag) in enumerate(tags.items())
                ],
            )
            connection.execute(
                "UPDATE counter SET value = max(value, (SELECT coalesce(max(row), -1) + 1 FROM image)) "
                "WHERE name = 'next_row'"
            )
            catalog_changes.note(connection, latest)
            return catalog_removals.forget(connection, latest)

    def delete(self, ids: Iterable[str], *, remember: bool = False) -> int:
        """Remove the images; ids that are not known are passed over. Returns how many were removed.

        remember: the next `upsert` tells of those that an ingestion had stored.
        """
        wanted = list(dict.fromkeys(ids))
        with self._changing() as connection:
            if remember:
                catalog_removals.remember(connection, wanted)
            known = [
                image_id
                for image_id in wanted
                if connection.execute("DELETE FROM image WHERE id = ?", (image_id,)).rowcount
            ]
            catalog_changes.note(connection, known)
            return len(known)

    def begin_anew(self) -> None:
        """Give out feature rows from 0 again, if there is no image, so that an emptied catalogue may be
        filled by another encoder into another file.

        For the holder of the data directory's lock: nobody may be reading features meanwhile.
        """
        with self._connections.write() as connection:
            connection.execute(
                "UPDATE counter SET value = 0 WHERE name = 'next_row' AND NOT EXISTS (SELECT 1 FROM image)"
            )

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that changes images."""
        if not self._up_to_date:
            catalog_schema.bring_up_to_date(self._connections)
            self._up_to_date = True
        with self._connections.write() as connection:
            yield connection

    def get(self, image_id: str) -> ImageRecord:
        """The record of one image. Raises NotFound."""
        found = self.find([image_id]).get(image_id)
        if found is None:
            raise NotFound(f"There is no image with id {image_id!r}")
        return found

    def find(self, ids: Iterable[str]) -> dict[str, ImageRecord]:
        """The records of those ids that are known, by id, in the order asked."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, ImageRecord] = {}
        with self._connections.read() as connection:
            for chunk in catalog_rows.chunks(wanted):
                marks = ",".join("?" * len(chunk))
                rows = connection.execute(
                    f"{catalog_rows.SELECT_RECORDS} WHERE i.id IN ({marks}) ORDER BY i.pk, it.position", chunk
                )
                found.update((record.id, record) for record in catalog_rows.records_from(rows))
        return {image_id: found[image_id] for image_id in wanted if image_id in found}

    def ids(self, split: Split | None = None) -> list[str]:
        """All ids, or those of one split, in the order of their feature rows."""
        with self._connections.read() as connection:
            query = "SELECT id FROM image WHERE ? IS NULL OR split = ? ORDER BY row"
            return [row[0] for row in connection.execute(query, (split, split))]

    def records(self, split: Split | None = None) -> Iterator[ImageRecord]:
        """All records, or those of one split, in the order of their feature rows.

        The iteration sees the state of the moment it began, whatever is written meanwhile.
        """
        with translating_errors(self._connections.path), closing(self._connections.connect()) as connection:
            connection.execute("BEGIN")
            yield from catalog_rows.all_records(connection, split)

    def table(self, split: Split) -> ImageTable:
        """The images of one split as columns, as they are at one moment."""
        with self._connections.read() as connection:
            return read_table(connection, split, self._connections.path)

    def count(self, split: Split | None = None) -> int:
        """How many images there are, in all or in one split."""
        with self._connections.read() as connection:
            query = "SELECT count(*) FROM image WHERE ? IS NULL OR split = ?"
            return int(connection.execute(query, (split, split)).fetchone()[0])

    def next_row(self) -> int:
        """The first feature row that no image ever had. A row is never given to a second image, until the
        catalogue has been emptied and begun anew.
        """
        with self._connections.read() as connection:
            return int(connection.execute("SELECT value FROM counter WHERE name = 'next_row'").fetchone()[0])

    def places(self, split: Split | None = None) -> list[Place]:
        """Where what belongs to each image lies, of all or of one split, in the order of their feature
        rows.
        """
        with self._connections.read() as connection:
            query = "SELECT id, row, sha256 FROM image WHERE ? IS NULL OR split = ? ORDER BY row"
            return [Place(*row) for row in connection.execute(query, (split, split))]

    def known_sources(self) -> dict[str, str]:
        """Fingerprint by id, of the images that have one: what a repeated ingestion compares with."""
        with self._connections.read() as connection:
            query = "SELECT id, fingerprint FROM image WHERE fingerprint IS NOT NULL ORDER BY row"
            return dict(connection.execute(query))

    def ingested_below(self, folder: str, *, but: Container[str]) -> dict[str, str]:
        """Path by id of the images that an ingestion has stored and whose path begins with `folder`, but for
        some ids.
        """
        with self._connections.read() as connection:
            query = """
                SELECT id, path FROM image WHERE fingerprint IS NOT NULL AND substr(path, 1, length(?1)) = ?1
                ORDER BY row
            """
            rows = connection.execute(query, (folder,))
            return {image_id: path for image_id, path in rows if image_id not in but}

    def keeps_blob(self, sha256: str) -> bool:
        """Whether an image has these original bytes."""
        with self._connections.read() as connection:
            row = connection.execute("SELECT 1 FROM image WHERE sha256 = ? LIMIT 1", (sha256,)).fetchone()
        return row is not None

    # -- changes
    # -----------------------------------------------------------------------------------------------

    def revision(self) -> int:
        """The number of the newest change; see :mod:`graph_store.catalog_changes`."""
        with self._connections.read() as connection:
            return catalog_changes.newest(connection)

    def changes(self, since: int) -> Changes:
        """Everything that changed after revision `since`, as one state of the catalogue."""
        with self._connections.read() as connection:
            revisions = catalog_changes.revisions_after(connection, since)
            records = self.find(revisions)
            return Changes(
                catalog_changes.newest(connection),
                {
                    image_id: Change(revision, records.get(image_id))
                    for image_id, revision in revisions.items()
                },
            )

    def count_changes(self, since: int) -> int:
        """How many images changed after revision `since`."""
        with self._connections.read() as connection:
            return catalog_changes.count_after(connection, since)

    def remembers_after(self, since: int) -> bool:
        """Whether `changes(since)` tells everything: nothing later than `since` has been forgotten. A
        catalogue that is behind `since` was restored from a copy, and tells all that it can.
        """
        with self._connections.read() as connection:
            newest, forgotten = catalog_changes.newest(connection), catalog_changes.forgotten(connection)
        return since > newest or since >= forgotten

    def forget_changes(self, upto: int) -> None:
        """Drop the memory of changes that every snapshot in use has taken in."""
        with self._changing() as connection:
            catalog_changes.forget(connection, upto)

    # -- tags
    # --------------------------------------------------------------------------------------------------

    def tag_counts(self, split: Split | None = None) -> dict[str, int]:
        """How many images (of one split) carry each tag; ordered by case-folded name, tags of no image left
        out.
        """
        with self._connections.read() as connection:
            query = """
                SELECT t.name, count(*) FROM image_tag it JOIN tag t ON t.pk = it.tag JOIN image i ON i.pk =
                it.image WHERE ? IS NULL OR i.split = ? GROUP BY t.pk ORDER BY t.key
            """
            return dict(connection.execute(query, (split, split)))

    # -- facts about the catalogue
    # -----------------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """The JSON value stored under `key`, None when there is none."""
        with self._connections.read() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return None if row is None else json.loads(row[0])

    def set_meta(self, key: str, value: Any) -> None:
        """Store a JSON value under `key`."""
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadInput(f"The value of {key!r} is no valid JSON: {error}") from error
        with self._connections.write() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))

    def add_skips(self, run: str, skips: Iterable[Skip]) -> None:
        """Store what a run has seen and not stored."""
        with self._connections.write() as connection:
            connection.executemany(
                "INSERT INTO skip (run, source, line, reason, item) VALUES (?, ?, ?, ?, ?)",
                [(run, skip.source, skip.line, skip.reason, skip.item) for skip in skips],
            )

    def drop_skips(self, run: str) -> None:
        """Forget what a run has stored by `add_skips`: it was cut short, and is done again under its name."""
        with self._connections.write() as connection:
            connection.execute("DELETE FROM skip WHERE run = ?", (run,))

    def keep_skips(self, runs: Sequence[str]) -> None:
        """Forget what all but these runs have skipped."""
        with self._connections.write() as connection:
            marks = ",".join("?" * len(runs))
            connection.execute(f"DELETE FROM skip WHERE run NOT IN ({marks})", runs)

    def skips(self, run: str | None = None) -> list[Skip]:
        """What one run, or all whose skips are kept, have skipped, in the order it was met."""
        with self._connections.read() as connection:
            query = "SELECT source, line, reason, item FROM skip WHERE ? IS NULL OR run = ? ORDER BY pk"
            return [Skip(*row) for row in connection.execute(query, (run, run))]


def _refuse_taken_rows(connection: sqlite3.Connection, records: Iterable[ImageRecord]) -> None:
    owners: dict[int, str] = {}
    for record in records:
        taken = connection.execute("SELECT id FROM image WHERE row = ?", (record.row,)).fetchone()
        owner = taken[0] if taken else owners.setdefault(record.row, record.id)
        if owner != record.id:
            raise BadInput(f"Feature row {record.row} of image {record.id!r} belongs to image {owner!r}")
