"""Where graph agreement believes other tags than the catalogue says, users see and filter by these."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.filtering import Clause, RowFilter
from app.serving_state import ServingState
from gnn.query import QueryEngine
from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.record_table import RecordTable
from graph_store.records import ImageRecord, Tag
from graph_store.snapshot import Snapshot
from tests.gnn.worlds import TAGS, drawn_features, drawn_records, drawn_tags, write_catalogue

pytestmark = pytest.mark.usefixtures("kept_text_encoder")

NUM = 500


@pytest.fixture(scope="module")
def given() -> list[ImageRecord]:
    """Three images in ten carry a tag that nothing in them shows in place of one that they show."""
    rng = np.random.default_rng(0)
    records = []
    for record in drawn_records(drawn_tags(NUM, seed=3)):
        carried = [tag.name for tag in record.tags]
        if carried and rng.random() < 0.3:
            carried[0] = str(rng.choice([name for name in TAGS if name not in carried]))
        records.append(replace(record, tags=tuple(map(Tag, carried))))
    return records


@pytest.fixture(scope="module")
def data_dir(given: list[ImageRecord], tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    features = drawn_features(drawn_tags(NUM, seed=3))
    data_dir = write_catalogue(tmp_path_factory.mktemp("noisy"), given, features)
    train(data_dir, epochs=1, options={"agreement": "1"})
    reindex(data_dir)
    return data_dir


@pytest.fixture(scope="module")
def state(data_dir: DataDir) -> ServingState:
    snapshot = Snapshot.open(data_dir)
    engine = QueryEngine.open(snapshot)
    return ServingState(snapshot, engine, RecordTable.open(snapshot.path("records")))


def test_the_graph_holds_other_tags_than_the_catalogue(state: ServingState) -> None:
    believed, carried = state.engine.graph.tags_of_image, state.engine.carried.of_image
    differ = [set(believed.row(row)[0]) != set(carried.row(row)[0]) for row in range(NUM)]
    assert 0.05 < np.mean(differ) < 0.6


def test_the_tags_of_an_image_are_those_that_it_came_with(
    state: ServingState, given: list[ImageRecord]
) -> None:
    names = state.engine.tag_names
    for row, record in enumerate(given):
        told = {names[tag] for tag in state.engine.tags_of(row).tolist()}
        assert told == {tag.name for tag in record.tags}
        assert {edge["name"] for edge in state.neighbours(row)["tags"]} == told


def test_a_filter_finds_the_images_that_carry_a_tag(state: ServingState, given: list[ImageRecord]) -> None:
    for name in TAGS:
        carriers = [row for row, record in enumerate(given) if name in [tag.name for tag in record.tags]]
        wanted = RowFilter(must=(Clause("tags", "match", name),))
        assert state.filters.allowed(wanted, name).tolist() == carriers


def test_counts_are_the_catalogue_s(state: ServingState, data_dir: DataDir) -> None:
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert state.tag_counts == catalog.tag_counts()
    assert state.snapshot.manifest["counts"]["has"] == sum(state.tag_counts.values())
    assert state.snapshot.json("tags")["counts"] == list(state.tag_counts.values())


def test_what_is_missing_is_what_the_catalogue_lacks(state: ServingState, given: list[ImageRecord]) -> None:
    """A tag that agreement is sure of is the first to be proposed, not one that the image has already."""
    engine = state.engine
    added = [
        (row, tag)
        for row in range(NUM)
        for tag in set(engine.graph.tags_of_image.row(row)[0]) - set(engine.tags_of(row).tolist())
    ]
    assert added
    for row, tag in added:
        missing = [name for name, _ in engine.predict_tags_of(row, len(TAGS), missing=True)]
        assert engine.tag_names[tag] in missing
        assert not {each.name for each in given[row].tags} & set(missing)


def test_a_snapshot_says_that_it_holds_the_tags_of_the_catalogue_and_stays(data_dir: DataDir) -> None:
    before = Snapshot.open(data_dir)
    assert before.manifest["parameters"]["made_from"]["carried"]
    assert reindex(data_dir).version == before.version
