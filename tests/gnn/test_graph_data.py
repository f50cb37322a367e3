"""What a catalogue is known by, when it is trained on, gone on with, or indexed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gnn.graph_data import GraphData, load_graph_data
from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.snapshot import Snapshot
from tests.gnn.worlds import drawn_features, drawn_records, drawn_tags, store, write_catalogue

pytestmark = pytest.mark.usefixtures("kept_text_encoder")

CHOSEN = drawn_tags(40)


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    return write_catalogue(tmp_path / "data", drawn_records(CHOSEN), drawn_features(CHOSEN))


def fill_anew(data_dir: DataDir, seed: int) -> None:
    """The same images once more, in the same rows, with features of that seed."""
    records = drawn_records(CHOSEN)
    with Catalog.open(data_dir.catalog_path) as catalog:
        catalog.delete([record.id for record in records])
        catalog.begin_anew()
    store(data_dir, records, drawn_features(CHOSEN, seed))


def test_a_catalogue_with_other_features_is_another_one(data_dir: DataDir) -> None:
    before = load_graph_data(data_dir).fingerprint()
    assert load_graph_data(data_dir).fingerprint() == before
    fill_anew(data_dir, seed=1)
    assert load_graph_data(data_dir).fingerprint() != before
    fill_anew(data_dir, seed=0)
    assert load_graph_data(data_dir).fingerprint() == before


def test_many_features_with_a_gap_between_them_are_mapped_from_a_file_that_has_no_name(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Catalog.open(data_dir.catalog_path) as catalog:
        catalog.delete([drawn_records(CHOSEN)[7].id])
    monkeypatch.setattr("gnn.graph_data._MOST_COPIED", 0)
    before = sorted(data_dir.features_dir.iterdir())

    features = load_graph_data(data_dir).features
    assert isinstance(features, np.memmap) and not features.flags.writeable
    np.testing.assert_array_equal(features, np.delete(drawn_features(CHOSEN), 7, axis=0))
    assert sorted(data_dir.features_dir.iterdir()) == before


def test_a_snapshot_that_knows_its_catalogue_by_less_is_replaced_by_a_reindex(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(data_dir, epochs=1)
    with monkeypatch.context() as older:
        fingerprint = GraphData.fingerprint
        older.setattr(
            GraphData,
            "fingerprint",
            lambda self: fingerprint(replace(self, feature_sums=self.feature_sums[:0])),
        )
        before = reindex(data_dir)
    current = load_graph_data(data_dir).fingerprint()
    assert before.manifest["parameters"]["made_from"]["data"] != current
    after = reindex(data_dir)
    assert after.manifest["parameters"]["made_from"]["data"] == current
    assert after.manifest["parameters"]["embedded_anew"] == 0
    assert reindex(data_dir).version == after.version == Snapshot.open(data_dir).version
