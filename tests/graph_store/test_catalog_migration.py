"""A catalogue that an older imsage made goes on to be read, and is brought up to date by the first write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from graph_store.catalog import Catalog
from graph_store.records import ImageRecord, Tag

OLD = (ImageRecord("a", row=0, tags=(Tag("dog"),)), ImageRecord("b", row=1))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A catalogue of version 1: without revisions."""
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog:
        catalog.upsert(OLD)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE change")
        connection.execute("DROP INDEX image_by_sha256")
        connection.execute("DELETE FROM counter WHERE name = 'revision'")
        connection.execute("PRAGMA user_version = 1")
    return path


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_an_old_catalogue_is_read_and_left_as_it_is(old: Path) -> None:
    with Catalog.open(old) as catalog:
        assert list(catalog.records()) == list(OLD)
        assert (catalog.revision(), dict(catalog.changes(0).by_id), catalog.count_changes(0)) == (0, {}, 0)
    assert version(old) == 1
    assert list(old.parent.glob("*.v1")) == []


def test_the_first_write_adds_revisions_and_keeps_a_copy_of_the_old_file(old: Path) -> None:
    with Catalog.open(old) as catalog:
        catalog.upsert([ImageRecord("c", row=2)])
        assert catalog.delete(["a"]) == 1
        assert {name: change.revision for name, change in catalog.changes(0).by_id.items()} == {
            "c": 1,
            "a": 2,
        }
        assert catalog.ids() == ["b", "c"]
    assert version(old) == 2
    with Catalog.open(old.with_name("catalog.sqlite.v1")) as copy:
        assert list(copy.records()) == list(OLD)
    assert version(old.with_name("catalog.sqlite.v1")) == 1
