"""`train`: what it refuses, and the small and odd catalogues that it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gnn.graph_data import GraphData, load_graph_data
from gnn.query import Query, QueryEngine, QueryTag
from gnn.reindex import build_index, reindex
from gnn.training import train
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, DataDirBusy, NothingToServe, UnknownName
from tests.gnn.worlds import (
    TAGS,
    data_of,
    drawn_data,
    drawn_features,
    drawn_records,
    drawn_tags,
    trained,
    write_catalogue,
)

PRESETS = pytest.mark.parametrize("preset", ["default", "paper", "graph-rise"])


def catalogue(folder: Path, num: int = 60) -> DataDir:
    chosen = drawn_tags(num)
    return write_catalogue(folder, drawn_records(chosen), drawn_features(chosen))


def searchable(engine: QueryEngine) -> None:
    """The first image asked about finds everything there is, each once, and names as many tags as known."""
    hits = engine.search(engine.embed(Query(indexed_row=0)), 0.5, 1000)
    assert sorted(hits.rows.tolist()) == list(range(engine.num_images))
    assert np.isfinite(hits.score).all()
    features = engine.image_features(0)[None, :]
    new = engine.search(engine.embed(Query(images=features, tags=(QueryTag(engine.tag_names[0]),))), 0.5, 5)
    assert len(new.rows) == min(5, engine.num_images)
    named = engine.predict_tags(features, 1000)[0]
    assert len(named) == len(engine.tag_names)
    assert all(0 <= chance <= 1 for _, chance in named)


def engine_of(data: GraphData, folder: Path, preset: str) -> QueryEngine:
    return QueryEngine(build_index(trained(data, folder, preset, epochs=1), data))


def test_an_unknown_preset_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'defualt'") as refused:
        train(catalogue(tmp_path), "defualt")
    assert "default" in refused.value.hint and "paper" in refused.value.hint


@pytest.mark.parametrize("epochs", [0, -3])
def test_no_epochs_at_all_are_refused(tmp_path: Path, epochs: int) -> None:
    with pytest.raises(BadInput, match="epochs must be at least 1"):
        train(catalogue(tmp_path), epochs=epochs)


def test_a_directory_without_a_catalogue_is_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(NothingToServe):
        train(DataDir(tmp_path))


@PRESETS
def test_an_empty_catalogue_is_refused_with_what_to_do(tmp_path: Path, preset: str) -> None:
    data_dir = write_catalogue(tmp_path, [], np.zeros((0, 24), np.float32))
    with pytest.raises(BadInput, match="no image to index") as refused:
        train(data_dir, preset)
    assert "ingest" in refused.value.hint


def test_a_catalogue_of_held_out_images_only_is_refused(tmp_path: Path) -> None:
    chosen = drawn_tags(20)
    records = [replace(record, split="test") for record in drawn_records(chosen)]
    with pytest.raises(BadInput, match="no image to index"):
        train(write_catalogue(tmp_path, records, drawn_features(chosen)))


@PRESETS
def test_a_catalogue_without_tags_is_refused_with_what_to_do(tmp_path: Path, preset: str) -> None:
    chosen = np.zeros((20, len(TAGS)), dtype=bool)
    data_dir = write_catalogue(tmp_path, drawn_records(chosen), drawn_features(chosen))
    with pytest.raises(BadInput, match="None of the 20 images to index has a tag") as refused:
        train(data_dir, preset)
    assert "Add tags" in refused.value.hint


@PRESETS
@pytest.mark.parametrize("num", [1, 2, 3, 12, 39])
def test_too_few_images_to_hold_any_out_are_searchable_all_the_same(
    tmp_path: Path, num: int, preset: str
) -> None:
    chosen = drawn_tags(num)
    chosen[0, 1] = True
    searchable(engine_of(data_of(chosen), tmp_path, preset))


@PRESETS
@pytest.mark.parametrize("num", [1, 2, 5, 60])
def test_one_tag_on_every_image_is_searchable_all_the_same(tmp_path: Path, num: int, preset: str) -> None:
    searchable(engine_of(data_of(np.ones((num, 1), dtype=bool), ("thing",)), tmp_path, preset))


@pytest.mark.parametrize("each", [1, 2])
def test_tags_that_no_two_images_share_go_all_the_way_to_a_snapshot(tmp_path: Path, each: int) -> None:
    names = tuple(f"tag {number:03}" for number in range(160 * each))
    chosen = np.repeat(np.eye(160, dtype=bool), each, axis=1)
    data_dir = write_catalogue(tmp_path, drawn_records(chosen, names), drawn_features(chosen))
    assert train(data_dir).best_metric == 0.0
    searchable(QueryEngine.open(reindex(data_dir)))


@PRESETS
def test_images_that_all_look_the_same_are_searchable_all_the_same(tmp_path: Path, preset: str) -> None:
    data = drawn_data(60)
    alike = np.repeat(data.features[:1], 60, axis=0)
    searchable(engine_of(replace(data, features=alike), tmp_path, preset))


@PRESETS
def test_tags_of_unequal_weights_are_learnt_from(tmp_path: Path, preset: str) -> None:
    data = drawn_data(60)
    edges = data.tags_of_image
    weights = np.linspace(0.01, 9, edges.num_edges, dtype=np.float32)
    unequal = replace(data, tags_of_image=Csr(edges.indptr, edges.indices, weights))
    learnt = trained(unequal, tmp_path / "unequal", preset, epochs=1)
    searchable(QueryEngine(build_index(learnt, unequal)))
    plain = trained(data, tmp_path / "plain", preset, epochs=1).model.state_dict()
    found = learnt.model.state_dict()
    assert any(
        tensor.shape != found[name].shape or not torch.equal(tensor, found[name])
        for name, tensor in plain.items()
    )


def test_one_image_goes_all_the_way_to_a_snapshot(tmp_path: Path) -> None:
    chosen = np.ones((1, len(TAGS)), dtype=bool)
    data_dir = write_catalogue(tmp_path, drawn_records(chosen), drawn_features(chosen))
    report = train(data_dir)
    assert (report.preset, report.epochs, report.best_metric) == ("default", 0, 0.0)
    searchable(QueryEngine.open(reindex(data_dir)))


def test_held_out_images_are_not_read(tmp_path: Path) -> None:
    chosen = drawn_tags(60)
    records, features = drawn_records(chosen), drawn_features(chosen)
    tested = [replace(record, split="test") if record.row >= 50 else record for record in records]
    with_test = load_graph_data(write_catalogue(tmp_path / "a", tested, features))
    without = load_graph_data(write_catalogue(tmp_path / "b", records[:50], features[:50]))
    assert with_test.fingerprint() == without.fingerprint()
    assert with_test.ids == without.ids
    np.testing.assert_array_equal(with_test.features, without.features)


def test_a_second_process_is_told_who_is_writing(tmp_path: Path) -> None:
    data_dir = catalogue(tmp_path)
    holder = (
        "import sys\nfrom pathlib import Path\nfrom graph_store.data_dir import DataDir\n"
        "with DataDir(Path(sys.argv[1])).lock('ingest'):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(DataDirBusy, match=rf"process {other.pid} \(ingest\)"):
            train(data_dir)
        with pytest.raises(DataDirBusy):
            reindex(data_dir)
        other.communicate()
    assert train(data_dir, epochs=1).epochs == 1


@PRESETS
def test_training_leaves_history_curves_and_a_readable_config(tmp_path: Path, preset: str) -> None:
    data_dir = catalogue(tmp_path)
    report = train(data_dir, preset, epochs=2)
    lines = [json.loads(line) for line in (report.model_dir / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and report.epochs == 2
    assert (report.model_dir / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((report.model_dir / "config.json").read_text())["preset"] == preset
    assert report.best_metric > 0 and report.seconds > 0


@PRESETS
def test_the_same_seed_gives_the_same_model_bit_for_bit_and_another_seed_another(
    tmp_path: Path, preset: str
) -> None:
    saved = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        trained(drawn_data(), tmp_path / name, preset, seed=seed).save(tmp_path / name)
        saved.append((tmp_path / name / "model.safetensors").read_bytes())
    assert saved[0] == saved[1]
    assert saved[0] != saved[2]
