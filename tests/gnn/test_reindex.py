"""From a trained model and a catalogue to the snapshot that answers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gnn import trained_model
from gnn.encoders.base import EncoderSpec
from gnn.encoders.registry import text_encoder
from gnn.query import Query, QueryEngine, QueryTag
from gnn.reindex import catalogue_revision, reindex
from gnn.trained_model import MODEL
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, EncoderMismatch, NothingToServe
from graph_store.record_table import RecordTable
from graph_store.records import ImageRecord, Tag
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import versions
from tests.gnn.worlds import SPEC, TAGS, drawn_features, drawn_records, drawn_tags, store, write_catalogue

pytestmark = pytest.mark.usefixtures("kept_text_encoder")

NUM, HELD_OUT = 72, 8


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """80 drawn images, the last eight of them held out, trained and indexed."""
    chosen = drawn_tags(NUM + HELD_OUT)
    records = [
        replace(record, split="test") if record.row >= NUM else record for record in drawn_records(chosen)
    ]
    data_dir = write_catalogue(tmp_path_factory.mktemp("built"), records, drawn_features(chosen))
    train(data_dir, epochs=2)
    reindex(data_dir)
    return data_dir


@pytest.fixture
def built(template: DataDir, tmp_path: Path) -> DataDir:
    """A copy that the test may change."""
    shutil.copytree(template.root, tmp_path / "data")
    return DataDir(tmp_path / "data")


def picture(*tags: str, seed: int = 5) -> np.ndarray:
    """[1, 24]: features of a new image that shows these tags."""
    chosen = np.array([[tag in tags for tag in TAGS]])
    return drawn_features(chosen, seed)


def add(data_dir: DataDir, image_id: str, tags: tuple[str, ...], features: np.ndarray) -> None:
    """As ingestion stores an image, new or again: its features go to a row of their own."""
    with Catalog.open(data_dir.catalog_path) as catalog:
        row = catalog.next_row()
    store(data_dir, [ImageRecord(id=image_id, tags=tuple(map(Tag, tags)), row=row)], features)


def found(engine: QueryEngine, query: Query, visual_weight: float, k: int) -> list[str]:
    rows = engine.search(engine.embed(query), visual_weight, k).rows
    return [engine.image_ids[row] for row in rows]


def test_every_train_image_is_indexed_and_no_test_image(template: DataDir) -> None:
    engine = QueryEngine.open(Snapshot.open(template))
    assert set(engine.image_ids) == {f"image-{row}" for row in range(NUM)}
    assert all(engine.row_of(f"image-{row}") is None for row in range(NUM, NUM + HELD_OUT))


def test_the_manifest_counts_what_is_indexed(template: DataDir) -> None:
    snapshot = Snapshot.open(template)
    manifest, counts = snapshot.manifest, snapshot.manifest["counts"]
    assert counts["images"] == counts["indexed"] == NUM == len(snapshot.array("embeddings"))
    assert len(RecordTable.open(snapshot.path("records"))) == NUM
    assert counts["skipped"] == counts["failed"] == 0
    assert counts["tags"] == len(TAGS) == len(snapshot.array("tag_embeddings"))
    carried = drawn_tags(NUM + HELD_OUT)[:NUM]
    assert counts["has"] == carried.sum() == sum(snapshot.json("tags")["counts"])
    for name in ("similar", "related"):
        assert counts[name] == len(snapshot.array(f"graph/{name}.indices"))
    assert manifest["encoder"] == SPEC.to_dict()
    assert manifest["model"]["preset"] == "default"


def test_an_unchanged_catalogue_keeps_its_snapshot(built: DataDir) -> None:
    before = Snapshot.open(built).version
    assert reindex(built).version == before
    assert versions(built) == [before]


def test_a_full_reindex_makes_a_new_snapshot_that_answers_alike(built: DataDir) -> None:
    before = Snapshot.open(built)
    after = reindex(built, full=True)
    assert after.version > before.version == versions(built)[0]
    assert Snapshot.open(built).version == after.version
    for name in ("embeddings", "tag_embeddings", "features"):
        np.testing.assert_array_equal(before.array(name), after.array(name))


def test_only_the_newest_snapshots_are_kept(built: DataDir) -> None:
    made = [reindex(built, full=True, keep=2).version for _ in range(3)]
    assert versions(built) == made[-2:]


def test_training_again_makes_reindexing_make_a_new_snapshot(built: DataDir) -> None:
    before = Snapshot.open(built).version
    train(built, epochs=2, seed=9)
    assert reindex(built).version > before


def test_a_change_of_a_held_out_image_is_taken_in_without_embedding_anything_anew(built: DataDir) -> None:
    before = Snapshot.open(built)
    with Catalog.open(built.catalog_path) as catalog:
        catalog.upsert([replace(catalog.get(f"image-{NUM}"), tags=(Tag("red"),))])
    after = reindex(built)
    # Another snapshot all the same: a service counts what is new from the revision that it holds.
    assert after.version > before.version
    assert catalogue_revision(after) > catalogue_revision(before)
    assert after.manifest["parameters"]["embedded_anew"] == 0
    for name in ("embeddings", "tag_embeddings", "features"):
        np.testing.assert_array_equal(before.array(name), after.array(name))
    assert reindex(built).version == after.version


def test_a_new_image_is_found_by_its_looks_and_by_its_tags(built: DataDir) -> None:
    features = picture("red", "square")
    add(built, "new", ("red", "square"), features)
    engine = QueryEngine.open(reindex(built))
    assert found(engine, Query(images=features), 1.0, 1) == ["new"]
    asked = Query(tags=(QueryTag("red"), QueryTag("square")))
    alike = sum(
        {"red", "square"} == {tag.name for tag in record.tags} for record in drawn_records(drawn_tags(NUM))
    )
    assert "new" in found(engine, asked, 0.0, alike + 1)


def test_an_image_ingested_again_is_found_as_what_it_is_now(built: DataDir) -> None:
    features = picture("green", "circle")
    add(built, "image-3", ("green", "circle"), features)
    engine = QueryEngine.open(reindex(built))
    assert engine.num_images == NUM
    assert found(engine, Query(images=features), 1.0, 1) == ["image-3"]
    row = engine.row_of("image-3")
    assert row is not None
    assert {engine.tag_names[tag] for tag in engine.graph.tags_of_image.row(row)[0]} == {"green", "circle"}


def test_a_deleted_image_is_gone(built: DataDir) -> None:
    with Catalog.open(built.catalog_path) as catalog:
        catalog.delete(["image-3"])
    engine = QueryEngine.open(reindex(built))
    assert engine.row_of("image-3") is None
    assert engine.num_images == NUM - 1
    assert len(found(engine, Query(indexed_row=0), 0.5, NUM)) == NUM - 1


def test_a_tag_that_came_after_training_finds_the_images_that_carry_it(built: DataDir) -> None:
    for number in range(4):
        add(built, f"new-{number}", ("crimson",), picture("red", seed=number))
    engine = QueryEngine.open(reindex(built))
    assert "crimson" in engine.tag_names
    hits = found(engine, Query(tags=(QueryTag("crimson"),)), 0.5, 12)
    assert sum(image.startswith("new-") for image in hits) == 4
    names = [name for name, _ in engine.predict_tags(picture("red", seed=9), 3)[0]]
    assert {"crimson", "red"} & set(names)


def test_a_tag_that_came_after_training_is_not_just_any_tag(built: DataDir) -> None:
    add(built, "new", ("crimson",), picture("red"))
    engine = QueryEngine.open(reindex(built), text_encoder("minilm", threads=1))
    crimson, red, square = (
        engine.embed(Query(tags=(QueryTag(name),))).conceptual for name in ("crimson", "red", "square")
    )
    assert crimson @ red > crimson @ square


@pytest.mark.parametrize("preset", ["default", "paper", "graph-rise"])
def test_a_catalogue_that_lost_all_its_tags_is_still_searched_by_looks(built: DataDir, preset: str) -> None:
    if preset != "default":
        train(built, preset, epochs=1)
    with Catalog.open(built.catalog_path) as catalog:
        catalog.upsert([replace(record, tags=()) for record in catalog.records()])
    engine = QueryEngine.open(reindex(built, preset))
    assert engine.tag_names == ()
    image = engine.image_features(7)[None, :]
    alone, *together = (Query(images=image), Query(images=np.concatenate([image, image])))
    for query in (alone, *together, Query(images=image, image_rows=(7,)), Query(indexed_row=7)):
        assert engine.image_ids[7] in found(engine, query, 1.0, 5)
    assert all(np.isfinite(each.conceptual).all() for each in engine.embed_many([alone, *together]))
    assert engine.predict_tags(image, 5) == [[]]


def test_features_of_another_encoder_are_refused(built: DataDir) -> None:
    other = EncoderSpec("precomputed:other", "", SPEC.dim, "none")
    chosen = drawn_tags(NUM + HELD_OUT)
    with Catalog.open(built.catalog_path) as catalog:
        catalog.delete(catalog.ids())
    store(built, drawn_records(chosen), drawn_features(chosen), other)
    before = Snapshot.open(built).version
    with pytest.raises(EncoderMismatch, match="precomputed:other"):
        reindex(built)
    assert Snapshot.open(built).version == before


def test_without_a_model_there_is_nothing_to_serve(template: DataDir, tmp_path: Path) -> None:
    chosen = drawn_tags(20)
    data_dir = write_catalogue(tmp_path, drawn_records(chosen), drawn_features(chosen))
    with pytest.raises(NothingToServe, match="no trained model"):
        reindex(data_dir)
    assert versions(data_dir) == []


def test_a_preset_that_was_not_trained_is_refused_by_name(built: DataDir) -> None:
    with pytest.raises(NothingToServe, match="'paper'") as refused:
        reindex(built, "paper")
    assert "imsage train --preset paper" in refused.value.hint


def test_a_model_cut_short_is_refused_by_name(built: DataDir) -> None:
    path = built.models_dir / "default" / MODEL
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptFile, match=r"model\.safetensors") as refused:
        reindex(built)
    assert refused.value.path == path


def test_a_snapshot_of_an_older_model_format_is_refused_by_name(
    template: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = Snapshot.open(template)
    later = trained_model.FORMAT + 1
    monkeypatch.setattr(trained_model, "FORMAT", later)  # of the program's next version,
    monkeypatch.setattr(trained_model, "READABLE_FORMATS", (later,))  # which would read no other
    with pytest.raises(CorruptFile, match="format") as refused:
        QueryEngine.open(snapshot)
    assert refused.value.path == snapshot.path(f"model/{MODEL}")


@pytest.mark.parametrize("name", ["embeddings.npy", "features.npy"])
def test_a_damaged_snapshot_is_replaced_though_nothing_else_changed(built: DataDir, name: str) -> None:
    before = Snapshot.open(built)
    path = before.path(name)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    after = reindex(built)
    assert after.version > before.version
    Snapshot.open(built, verify=True)
