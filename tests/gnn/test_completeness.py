"""A reindex that would lose an image refuses to swap and names it."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnn.completeness import IncompleteReindex, refuse_losses
from gnn.graph_data import load_graph_data
from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile
from graph_store.features import FeatureFile
from graph_store.progress import Advance
from graph_store.records import ImageRecord, Tag
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import versions
from graph_store.verify import verify_data_dir
from tests.gnn.worlds import SPEC, drawn_features, drawn_records, drawn_tags, store, write_catalogue

pytestmark = pytest.mark.usefixtures("kept_text_encoder")

NUM = 40


@pytest.fixture
def built(tmp_path: Path) -> DataDir:
    chosen = drawn_tags(NUM)
    data_dir = write_catalogue(tmp_path, drawn_records(chosen), drawn_features(chosen))
    train(data_dir, epochs=1)
    reindex(data_dir)
    return data_dir


class Meanwhile:
    """A `Progress` that does something at the beginning of one phase."""

    def __init__(self, at: str, do: Callable[[], object]) -> None:
        self._at = at
        self._do = do

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        if name == self._at:
            self._do()
        yield lambda done: None


def features_file(data_dir: DataDir) -> FeatureFile:
    return FeatureFile.open(data_dir.features_dir, SPEC.slug, SPEC.dim)


def add_unnoted(data_dir: DataDir) -> None:
    """As an imsage before there were revisions stores an image: no search would be told of it."""
    with closing(sqlite3.connect(data_dir.catalog_path)) as connection, connection:
        connection.execute(
            "INSERT INTO image (id, row, split, attributes) VALUES ('unnoted', ?, 'train', '{}')", (NUM,)
        )


def test_an_image_that_neither_snapshot_nor_delta_would_hold_stops_the_swap(built: DataDir) -> None:
    before = Snapshot.open(built).version
    features_file(built).write(NUM, np.ones((1, SPEC.dim)))

    with pytest.raises(IncompleteReindex, match="not in the new snapshot: 'unnoted'"):
        reindex(built, full=True, progress=Meanwhile("write", lambda: add_unnoted(built)))

    assert versions(built) == [before] == [Snapshot.open(built).version]
    assert not list(built.snapshots_dir.glob(".*"))
    after = reindex(built)
    assert after.version > before and after.manifest["counts"]["images"] == NUM + 1


def test_what_is_written_while_a_snapshot_is_made_is_not_lost(built: DataDir) -> None:
    def write() -> None:
        with Catalog.open(built.catalog_path) as catalog:
            catalog.delete(["image-3"])
            catalog.upsert([replace(catalog.get("image-4"), tags=(Tag("red"),))])
        store(built, [ImageRecord("later", row=NUM)], np.ones((1, SPEC.dim), np.float32))

    made = reindex(built, full=True, progress=Meanwhile("write", write))

    assert made.manifest["counts"]["images"] == NUM
    with Catalog.open(built.catalog_path) as catalog:
        changes = catalog.changes(made.manifest["parameters"]["made_from"]["catalogue_revision"])
    assert set(changes.by_id) == {"image-3", "image-4", "later"}


def test_a_picture_written_between_the_looks_of_the_gate_is_not_taken_for_lost(
    built: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_graph_data(built)
    rows = itertools.count(NUM)

    def then_write(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*args: Any) -> Any:
            found, row = look(*args), next(rows)
            store(built, [ImageRecord(f"image-{row}", row=row)], np.ones((1, SPEC.dim), np.float32))
            return found

        return looked

    for name in ("ids", "changes"):
        monkeypatch.setattr(Catalog, name, then_write(getattr(Catalog, name)))
    refuse_losses(built, data, data.ids, np.ones((NUM, 4), np.float32), NUM)
    assert next(rows) == NUM + 2


def test_each_way_to_lose_an_image_is_named(built: DataDir) -> None:
    data = load_graph_data(built)
    vectors = np.ones((NUM, 4), np.float32)
    refuse_losses(built, data, data.ids, vectors, NUM)
    with pytest.raises(IncompleteReindex, match=r"not in the new snapshot: 'image-7'\."):
        refuse_losses(built, data, [name for name in data.ids if name != "image-7"], vectors, NUM)
    with pytest.raises(IncompleteReindex, match=r"'image-0', .*'image-4' and 35 more"):
        refuse_losses(built, data, [], vectors, NUM)
    with pytest.raises(IncompleteReindex, match=f"Of {NUM} images .* indexes {NUM - 1}"):
        refuse_losses(built, data, data.ids, vectors, NUM - 1)
    vectors[9, 2] = np.nan
    with pytest.raises(IncompleteReindex, match="no search finds: 'image-9'"):
        refuse_losses(built, data, data.ids, vectors, NUM)


@pytest.mark.parametrize("how", ["flipped", "cut short", "gone"])
def test_damaged_features_are_put_back_from_the_snapshot_by_a_reindex(built: DataDir, how: str) -> None:
    path = features_file(built).path
    data = path.read_bytes()
    if how == "flipped":
        path.write_bytes(data[:3000] + bytes([data[3000] ^ 4]) + data[3001:])
    else:
        path.write_bytes(data[:2000] if how == "cut short" else b"")
    assert [problem.path for problem in verify_data_dir(built)] == [path]

    made = reindex(built, full=True)

    assert path.read_bytes() == data
    assert verify_data_dir(built) == []
    np.testing.assert_array_equal(made.array("features"), np.frombuffer(data, "<f4").reshape(NUM, -1))


@pytest.mark.parametrize("gone", ["f32", "json", "crc32"])
@pytest.mark.parametrize("full", [False, True], ids=["changed", "full"])
def test_features_that_are_gone_are_put_back_from_the_snapshot_by_a_reindex(
    built: DataDir, gone: str, full: bool
) -> None:
    parts = {path: path.read_bytes() for path in built.features_dir.iterdir()}
    (path,) = built.features_dir.glob(f"*.{gone}")
    path.unlink()
    assert verify_data_dir(built, SPEC.slug)

    reindex(built, full=full)

    assert {path: path.read_bytes() for path in built.features_dir.iterdir()} == parts
    assert verify_data_dir(built, SPEC.slug) == []


def test_features_that_are_gone_and_were_never_in_a_snapshot_stop_the_reindex_by_name(built: DataDir) -> None:
    store(built, [ImageRecord("late", row=NUM)], np.ones((1, SPEC.dim), np.float32))
    features_file(built).path.unlink()
    with pytest.raises(CorruptFile, match=r"no longer holds the features of 'late'. Ingest"):
        reindex(built)


def test_damaged_features_that_no_snapshot_has_stop_the_reindex_by_name(built: DataDir) -> None:
    before = Snapshot.open(built).version
    store(built, [ImageRecord("late", row=NUM)], np.ones((1, SPEC.dim), np.float32))
    path = features_file(built).path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(CorruptFile, match=r"no longer holds the features of 'late'. Ingest") as refused:
        reindex(built)

    assert refused.value.path == path
    assert versions(built) == [before]


def test_a_reindex_removes_a_damaged_snapshot_and_keeps_a_whole_one(built: DataDir) -> None:
    first = Snapshot.open(built)
    second = reindex(built, full=True)
    (second.directory / "tags.json").write_text("[]")
    third = reindex(built)
    assert versions(built) == [first.version, third.version]
    (first.directory / "embeddings.npy").unlink()
    assert reindex(built).version == third.version
    assert versions(built) == [third.version]
    assert verify_data_dir(built) == []
