"""A catalogue that was put back to an older copy, under a snapshot that was made after that copy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.catalogue_reader import CatalogueReader
from app.live.keeper import DeltaKeeper
from app.live.state import LiveState
from app.serving_state import ServingState
from gnn.query import QueryEngine
from gnn.reindex import MARK, catalogue_revision, reindex, revision_taken_in
from gnn.training import train
from graph_store import snapshot_marks
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.record_table import RecordTable
from graph_store.records import ImageRecord, Tag
from graph_store.snapshot import Snapshot
from tests.gnn.worlds import drawn_features, drawn_records, drawn_tags, store, write_catalogue

pytestmark = pytest.mark.usefixtures("kept_text_encoder")

NUM = 60


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """Indexed, then copied, then ten images more and indexed again: the catalogue is the copy."""
    chosen = drawn_tags(NUM)
    data_dir = write_catalogue(
        tmp_path_factory.mktemp("built"), drawn_records(chosen), drawn_features(chosen)
    )
    train(data_dir, epochs=1)
    reindex(data_dir)
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert catalog.revision() == NUM
    copied = data_dir.root / "copied"
    shutil.copyfile(data_dir.catalog_path, copied)
    add(data_dir, "lost", 10)
    made = reindex(data_dir)
    assert catalogue_revision(made) == NUM + 10
    copied.replace(data_dir.catalog_path)
    return data_dir


@pytest.fixture
def data_dir(template: DataDir, tmp_path: Path) -> DataDir:
    shutil.copytree(template.root, tmp_path / "data")
    return DataDir(tmp_path / "data")


def add(data_dir: DataDir, name: str, count: int) -> None:
    with Catalog.open(data_dir.catalog_path) as catalog:
        row = catalog.next_row()
    made = [ImageRecord(id=f"{name}-{n}", tags=(Tag("red"),), row=row + n) for n in range(count)]
    shown = np.tile(np.array([[False, False, False, False, True, False]]), (count, 1))
    store(data_dir, made, drawn_features(shown, count))


def state_of(data_dir: DataDir, snapshot: Snapshot) -> ServingState:
    return ServingState(snapshot, QueryEngine.open(snapshot), RecordTable.open(snapshot.path("records")))


def served(data_dir: DataDir) -> set[str]:
    """The ids that a server which starts now finds."""
    keeper = DeltaKeeper(data_dir, CatalogueReader(data_dir))
    state = keeper.revised(state_of(data_dir, Snapshot.open(data_dir)))
    assert keeper.problem == ""
    rows = range(len(state.engine.image_ids))
    ids: list[Any] = []
    for row in rows:
        try:
            ids.append(state.engine.image_ids[row])
        except IndexError:
            continue
    return {each for each in ids if state.engine.row_of(each) is not None}


@pytest.mark.parametrize("count", [5, 10, 30])
def test_what_is_written_after_a_copy_was_put_back_is_found_however_much_it_is(
    data_dir: DataDir, count: int
) -> None:
    with Catalog.open(data_dir.catalog_path) as catalog:
        catalog.delete(["image-0", "image-1"])
    add(data_dir, "new", count)
    found = served(data_dir)
    assert {f"new-{n}" for n in range(count)} <= found
    assert not {"image-0", "image-1"} & found
    assert "image-2" in found


def test_a_reindex_after_a_copy_was_put_back_holds_what_the_catalogue_does(data_dir: DataDir) -> None:
    add(data_dir, "new", 30)
    made = reindex(data_dir)
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert revision_taken_in(catalog, made) == catalogue_revision(made) == NUM + 30
        assert served(data_dir) == set(catalog.ids("train"))
    assert reindex(data_dir).version == made.version


def test_a_copy_of_before_the_snapshot_makes_a_new_one_though_nothing_else_differs(
    data_dir: DataDir, template: DataDir
) -> None:
    before = reindex(data_dir)
    with Catalog.open(data_dir.catalog_path) as catalog:
        catalog.set_meta("snapshot_marks", [])
        assert revision_taken_in(catalog, before) == 0
    after = reindex(data_dir)
    assert after.version > before.version
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert revision_taken_in(catalog, after) == catalogue_revision(after) == NUM


def test_pages_over_a_snapshot_that_the_catalogue_does_not_know_end_where_changes_are_forgotten(
    data_dir: DataDir,
) -> None:
    snapshot = Snapshot.open(data_dir)
    keeper = DeltaKeeper(data_dir, CatalogueReader(data_dir))
    state = state_of(data_dir, snapshot)
    assert not keeper.follows(state)  # the first reindex forgot what it had taken in
    with Catalog.open(data_dir.catalog_path) as catalog:
        add(data_dir, "new", 30)
        catalog.forget_changes(NUM + 5)
    assert not keeper.follows(state)
    live = keeper.revised(state)
    assert isinstance(live, LiveState)
    assert keeper.follows(live)


def test_a_snapshot_of_before_there_were_marks_is_told_by_its_revision(data_dir: DataDir) -> None:
    snapshot = reindex(data_dir)
    parameters = snapshot.manifest["parameters"]
    made_from = {name: value for name, value in parameters["made_from"].items() if name != MARK}
    manifest = {**snapshot.manifest, "parameters": {**parameters, "made_from": made_from}}
    old = Snapshot(snapshot.directory, manifest)
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert revision_taken_in(catalog, old) == NUM
        ahead = {**made_from, "catalogue_revision": NUM + 1}
        old = Snapshot(snapshot.directory, {**manifest, "parameters": {**parameters, "made_from": ahead}})
        assert revision_taken_in(catalog, old) == 0


def test_marks_do_not_add_up_for_ever(data_dir: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_marks, "_KEPT", 3)
    with Catalog.open(data_dir.catalog_path) as catalog:
        marks = [snapshot_marks.leave_mark(catalog) for _ in range(5)]
        assert [snapshot_marks.has_mark(catalog, mark) for mark in marks] == [False] * 2 + [True] * 3
