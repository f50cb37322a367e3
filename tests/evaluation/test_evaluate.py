"""The whole protocol over the drawn catalogue, through the engine that also serves."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from gnn.evaluation import EvaluationReport, evaluate
from gnn.graph_data import load_graph_data
from gnn.reindex import reindex
from gnn.trained_model import MODEL
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile, NothingToServe
from graph_store.features import FeatureFile

PARTS = (
    "untagged",
    "tagged",
    "told",
    "incomplete",
    "completion",
    "slider",
    "tags",
    "unwanted",
    "contexts",
    "labels",
    "grades",
    "synonyms",
    "captions",
    "hash",
)


@pytest.fixture(scope="module")
def report(built_data_dir: DataDir) -> EvaluationReport:
    return evaluate(built_data_dir, quick=True)


def test_all_parts_are_there_in_order_with_rows_or_a_reason(report: EvaluationReport) -> None:
    assert tuple(part.name for part in report.parts) == PARTS
    for part in report.parts:
        assert bool(part.rows) != bool(part.not_applicable), part.name


def test_the_served_preset_stands_beside_every_baseline(report: EvaluationReport) -> None:
    rows = report.part("untagged").rows
    assert {row.system for row in rows if row.kind == "preset"} == set(report.about["presets"])
    assert {row.system for row in rows if row.kind == "baseline"} >= {"raw kNN", "vote", "ridge", "MLP + raw"}
    for row in rows:
        value = row.figures["nDCG@5"]
        assert 0 <= value.low <= value.mean <= value.high <= 1
        assert value.count > 0


def test_every_retrieval_finds_something_better_than_chance(report: EvaluationReport) -> None:
    for name in ("untagged", "tagged", "told"):
        for row in report.part(name).rows:
            # An order that is drawn has 0.32 here.
            assert row.figures["nDCG@10"].mean > 0.5, (name, row.system)


def test_hard_filtering_cannot_pass_the_visible_half(report: EvaluationReport) -> None:
    part = report.part("incomplete")
    (row,) = [row for row in part.rows if row.system == "hard filter"]
    assert row.figures["R-precision"].mean == pytest.approx(0.5, abs=0.1)


def test_the_report_tells_what_the_baselines_were_tuned_to_for_hidden_tags(report: EvaluationReport) -> None:
    chosen = {each["baseline"]: each["settings"] for each in report.to_json()["baseline_settings"]}
    assert chosen["whitened vote, completing tags"].keys() >= {"k", "sharpness", "looks_weight"}
    assert "MLP, naming hidden tags" in chosen


def test_the_report_is_json_and_repeats_with_its_seed(
    report: EvaluationReport, built_data_dir: DataDir
) -> None:
    again = evaluate(built_data_dir, quick=True)
    one, two = (json.dumps(replace(r, seconds=0.0).to_json(), allow_nan=False) for r in (report, again))
    assert one == two


def test_the_map_holds_images_and_tags_in_two_dimensions(report: EvaluationReport) -> None:
    images = np.array(report.map["images"])
    assert images.shape[1] == 2
    assert len(report.map["colours"]) == len(images)
    assert all(math.isfinite(x) for point in report.map["tags"] for x in point)


def test_a_catalogue_that_changed_since_the_last_reindex_is_refused(built_copy: DataDir) -> None:
    with Catalog.open(built_copy.catalog_path) as catalog:
        catalog.delete([catalog.ids("train")[0]])
    with pytest.raises(BadInput, match="changed since the last reindex"):
        evaluate(built_copy)


def test_a_model_that_was_trained_before_pictures_were_held_out_is_named(
    built_copy: DataDir, report: EvaluationReport
) -> None:
    assert not report.notes
    with Catalog.open(built_copy.catalog_path) as catalog:
        some = next(iter(catalog.records("train")))
        catalog.upsert([replace(some, split="test")])
    reindex(built_copy)
    told = evaluate(built_copy, quick=True)
    (note,) = told.notes
    assert "Preset default" in note and "imsage train --preset default" in note
    assert told.to_json()["notes"] == [note]
    shown = Console(width=200, file=io.StringIO())
    shown.print(told.table())
    assert "another state of this catalogue" in shown.file.getvalue()  # type: ignore[attr-defined]  # StringIO


def test_a_catalogue_without_held_out_images_is_told_how_to_get_some(built_copy: DataDir) -> None:
    with Catalog.open(built_copy.catalog_path) as catalog:
        catalog.delete(catalog.ids("test"))
    with pytest.raises(BadInput, match="no test split") as error:
        evaluate(built_copy)
    assert '"split": "test"' in error.value.hint


@pytest.mark.parametrize("is_cut", [False, True])
def test_damaged_features_of_a_held_out_image_are_refused_by_name(built_copy: DataDir, is_cut: bool) -> None:
    with Catalog.open(built_copy.catalog_path) as catalog:
        last = max(catalog.records("test"), key=lambda record: record.row)
    data = load_graph_data(built_copy)
    file = FeatureFile.open(built_copy.features_dir, data.encoder.slug, data.encoder.dim)
    width = 4 * data.encoder.dim
    with file.path.open("r+b") as written:
        if is_cut:  # what is indexed of the rest is put back from the snapshot
            written.truncate(last.row * width)
        else:
            written.seek(last.row * width)
            written.write(bytes([written.read(1)[0] ^ 1]))
    with pytest.raises(CorruptFile, match=repr(last.id)):
        evaluate(built_copy, quick=True)


def test_nothing_built_is_nothing_to_evaluate(ingested_data_dir: DataDir) -> None:
    with pytest.raises(NothingToServe):
        evaluate(ingested_data_dir)


def test_a_preset_with_other_options_stands_beside_the_preset(built_copy: DataDir) -> None:
    plain = (built_copy.models_dir / "default" / MODEL).read_bytes()
    train(built_copy, epochs=1, options={"neighbours": "4"})
    assert (built_copy.models_dir / "default" / MODEL).read_bytes() == plain
    found = evaluate(built_copy, quick=True)
    presets = {row.system for row in found.part("untagged").rows if row.kind == "preset"}
    assert presets == {"default", "default+neighbours=4"}
    reindex(built_copy)
    assert evaluate(built_copy, quick=True).about["served_preset"] == "default+neighbours=4"
    reindex(built_copy, "default")
    assert evaluate(built_copy, quick=True).about["served_preset"] == "default"


def test_another_trained_preset_gets_its_own_row_without_a_snapshot_of_its_own(built_copy: DataDir) -> None:
    train(built_copy, "paper", epochs=1)
    found = evaluate(built_copy, quick=True)
    assert found.about["served_preset"] == "default"
    for name in ("untagged", "tagged", "incomplete", "slider", "tags"):
        presets = {row.system for row in found.part(name).rows if row.kind == "preset"}
        assert presets >= {"default", "paper"}, name
