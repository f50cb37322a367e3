"""A reindex after a change computes what the change reaches; the result is that of computing everything."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnn import catalogue_embedding
from gnn.graph_data import load_graph_data
from gnn.graph_index import GraphIndex, open_index
from gnn.reindex import build_index, reindex
from gnn.reuse import ALIKE, FEATURE_SUMS, reusable
from gnn.trained_model import load_trained_model
from gnn.training import train
from graph_store import ivfpq_index
from graph_store.arrays import AnyArray
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.graph import load_edges
from graph_store.index_choice import AskedKind, IndexChoice, IndexPolicy
from graph_store.records import ImageRecord, Tag
from graph_store.similar import similar_edges
from graph_store.snapshot import Snapshot, SnapshotWriter, verify_all
from tests.gnn.worlds import TAGS, drawn_features, drawn_records, drawn_tags, store, write_catalogue

pytestmark = pytest.mark.usefixtures("kept_text_encoder")

NUM = 150
NEW_TAGS = ("crimson", "tiny")


@pytest.fixture(scope="module", params=["default", "paper", "graph-rise"])
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """Drawn images with a model of each preset and a snapshot of it; few neighbours, so that some are far."""
    chosen = drawn_tags(NUM)
    data_dir = write_catalogue(
        tmp_path_factory.mktemp("built"), drawn_records(chosen), drawn_features(chosen)
    )
    train(data_dir, request.param, epochs=1, options={"neighbours": "4"})
    reindex(data_dir)
    return data_dir


Change = tuple[str, int, int]

CHANGES = st.tuples(
    st.sampled_from(["add", "retag", "repaint", "delete", "hide"]), st.integers(0, 10**6), st.integers(1, 4)
)


def make(change: Change, data_dir: DataDir) -> None:
    """Do to `count` images what the change says; which, and what they become, depends on its seed."""
    kind, seed, count = change
    rng = np.random.default_rng(seed)
    with Catalog.open(data_dir.catalog_path) as catalog:
        records, row = list(catalog.records("train")), catalog.next_row()
        picked = [records[place] for place in rng.choice(len(records), count, replace=False)]
        if kind == "delete":
            catalog.delete([record.id for record in picked])
        elif kind == "hide":
            catalog.upsert([replace(record, split="test") for record in picked])
        elif kind == "retag":
            catalog.upsert([replace(record, tags=drawn(rng)) for record in picked])
    if kind in ("add", "repaint"):
        ids = [f"new-{row + place}" if kind == "add" else picked[place].id for place in range(count)]
        made = [ImageRecord(id=each, tags=drawn(rng), row=row + place) for place, each in enumerate(ids)]
        shown = np.array([[any(tag.name == name for tag in record.tags) for name in TAGS] for record in made])
        store(data_dir, made, drawn_features(shown, seed))


def drawn(rng: np.random.Generator) -> tuple[Tag, ...]:
    """Of unequal weights; a tag that training has not seen is among them now and then."""
    names = [name for name in TAGS if rng.random() < 0.35]
    names += [name for name in NEW_TAGS if rng.random() < 0.1]
    return tuple(Tag(name, round(float(rng.uniform(0.1, 5)), 3)) for name in names)


def anew(data_dir: DataDir) -> GraphIndex:
    """The catalogue as it is, computed from nothing with the model of the current snapshot."""
    model = load_trained_model(Snapshot.open(data_dir).path("model"))
    return build_index(model, load_graph_data(data_dir))


def assert_as_anew(data_dir: DataDir) -> None:
    found, wanted = open_index(Snapshot.open(data_dir)), anew(data_dir)
    assert tuple(found.ids) == tuple(wanted.ids)
    assert found.tag_names == wanted.tag_names
    for name in ("similar", "tags_of_image", "images_of_tag", "related"):
        ours, theirs = getattr(found.graph, name), getattr(wanted.graph, name)
        np.testing.assert_array_equal(ours.indptr, theirs.indptr)
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-5)
    assert found.carried.of_image.equals(wanted.carried.of_image)
    assert found.carried.of_tag.equals(wanted.carried.of_tag)
    np.testing.assert_allclose(found.prototypes, wanted.prototypes, atol=1e-5)
    for layer, (ours, theirs) in enumerate(
        zip(
            [*found.states.image_states, *found.states.tag_states],
            [*wanted.states.image_states, *wanted.states.tag_states],
            strict=True,
        )
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, err_msg=f"state {layer}")
    np.testing.assert_allclose(found.states.embeddings, wanted.states.embeddings, atol=1e-4)
    np.testing.assert_allclose(found.states.tag_embeddings, wanted.states.tag_embeddings, atol=1e-4)


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(st.lists(CHANGES, min_size=1, max_size=3), min_size=1, max_size=2))
def test_after_any_history_the_embeddings_are_those_made_anew(
    template: DataDir, tmp_path: Path, history: list[list[Change]]
) -> None:
    data_dir = DataDir(tmp_path / "data")
    shutil.rmtree(data_dir.root, ignore_errors=True)
    shutil.copytree(template.root, data_dir.root)
    for changes in history:
        for change in changes:
            make(change, data_dir)
        reindex(data_dir)
    assert_as_anew(data_dir)


@pytest.fixture
def built(template: DataDir, tmp_path: Path) -> DataDir:
    shutil.copytree(template.root, tmp_path / "data")
    return DataDir(tmp_path / "data")


def embedded_anew(data_dir: DataDir) -> int:
    return int(Snapshot.open(data_dir).manifest["parameters"]["embedded_anew"])


def test_a_full_reindex_embeds_every_image(built: DataDir) -> None:
    make(("add", 1, 1), built)
    reindex(built, full=True)
    assert embedded_anew(built) == NUM + 1


def test_another_model_embeds_every_image(built: DataDir) -> None:
    preset = Snapshot.open(built).manifest["model"]["preset"]
    train(built, preset, epochs=1, seed=5, options={"neighbours": "4"})
    reindex(built)
    assert embedded_anew(built) == NUM


def test_where_most_has_changed_everything_is_embedded(built: DataDir) -> None:
    make(("repaint", 1, NUM // 2), built)
    reindex(built)
    assert embedded_anew(built) == NUM
    assert_as_anew(built)


@pytest.fixture(scope="module")
def islands(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """Two groups of images whose looks have nothing in common, with a `default` model."""
    chosen = np.zeros((200, 2), dtype=bool)
    chosen[:100, 0] = chosen[100:, 1] = True
    features = drawn_features(chosen, noise=0.3)
    data_dir = write_catalogue(tmp_path_factory.mktemp("islands"), drawn_records(chosen, TAGS[:2]), features)
    train(data_dir, epochs=1, options={"neighbours": "4"})
    reindex(data_dir)
    return data_dir


@pytest.mark.parametrize("kind", ["add", "retag"])
def test_a_change_reaches_its_neighbours_only(islands: DataDir, tmp_path: Path, kind: str) -> None:
    shutil.copytree(islands.root, tmp_path / "data")
    data_dir = DataDir(tmp_path / "data")
    if kind == "add":
        with Catalog.open(data_dir.catalog_path) as catalog:
            row = catalog.next_row()
        one = np.array([[True, False]])
        store(
            data_dir,
            [ImageRecord(id="new", tags=(Tag(TAGS[0]),), row=row)],
            drawn_features(one, 9, noise=0.3),
        )
    else:
        with Catalog.open(data_dir.catalog_path) as catalog:
            catalog.upsert([replace(catalog.get("image-3"), tags=())])
    reindex(data_dir)
    assert 1 <= embedded_anew(data_dir) <= 30
    assert_as_anew(data_dir)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivfpq"])
@pytest.mark.parametrize("change", [("add", 3, 3), ("delete", 3, 3)])
def test_an_index_of_any_kind_is_grown_or_made_anew_and_finds_the_same(
    template: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change, kind: AskedKind
) -> None:
    monkeypatch.setattr(ivfpq_index, "LEAST_RANKED", 80)  # through the codes, not by comparing all
    shutil.copytree(template.root, tmp_path / "data")
    data_dir = DataDir(tmp_path / "data")
    policy = IndexPolicy(kind)
    reindex(data_dir, full=True, policy=policy)
    make(change, data_dir)
    index = open_index(reindex(data_dir, policy=policy)).index
    assert index.kind == kind
    vectors = np.asarray(open_index(Snapshot.open(data_dir)).states.embeddings)
    assert index.size == len(vectors) == NUM + (3 if change[0] == "add" else -3)
    wanted = np.sort(vectors[:40] @ vectors.T, axis=1)[:, :-6:-1]
    np.testing.assert_allclose(index.search(vectors[:40], 5).scores, wanted, atol=1e-4)


@pytest.mark.parametrize(("before", "after"), [("flat", "ivfpq"), ("ivfpq", "hnsw"), ("hnsw", "flat")])
def test_another_kind_of_index_is_made_without_embedding_anything_again(
    built: DataDir, before: AskedKind, after: AskedKind
) -> None:
    first = reindex(built, full=True, policy=IndexPolicy(before))
    second = reindex(built, policy=IndexPolicy(after))
    assert (open_index(first).index.kind, open_index(second).index.kind) == (before, after)
    assert embedded_anew(built) == 0
    np.testing.assert_array_equal(first.array("embeddings"), second.array("embeddings"))
    assert reindex(built, policy=IndexPolicy(after)).version == second.version


@pytest.mark.parametrize("change", [("add", 9, 5), ("retag", 9, 5), ("delete", 3, 2)])
def test_only_new_tags_are_compared_with_others(
    built: DataDir, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = set(reindex(built, full=True).json("tags")["names"])
    make(change, built)
    monkeypatch.setattr(catalogue_embedding, "similar_edges", None)
    snapshot = reindex(built)
    assert bool(set(snapshot.json("tags")["names"]) - known) == (change[0] != "delete")
    how = load_trained_model(snapshot.path("model")).preset.graph
    if not how.related:
        assert f"graph/{ALIKE}.indptr.npy" not in snapshot.manifest["files"]
        return
    expected = similar_edges(snapshot.array("tag_text"), how.related, how.related_text_threshold)
    assert load_edges(snapshot.path("graph"), ALIKE).equals(expected)


def test_tags_that_are_read_in_another_way_are_compared_again(built: DataDir) -> None:
    reindex(built, full=True)
    data, snapshot = load_graph_data(built), Snapshot.open(built)
    model = load_trained_model(snapshot.path("model"))
    text, how = data.tag_text.copy(), model.preset.graph
    text[[0, 1]] = text[[1, 0]]
    kept = reusable(snapshot, model, data, snapshot.manifest["parameters"]["made_from"])
    assert kept is not None
    found = kept.alike(text, how.related, how.related_text_threshold)
    if not how.related:
        assert found is None
        return
    assert found is not None
    assert found.equals(similar_edges(text, how.related, how.related_text_threshold))


@pytest.mark.parametrize("place", [0, -3])
def test_a_snapshot_whose_features_are_damaged_does_not_stay_after_a_change(
    built: DataDir, place: int
) -> None:
    before = reindex(built, full=True)
    path = before.path("features.npy")
    whole = bytearray(path.read_bytes())
    whole[place] ^= 1
    path.chmod(0o644)
    path.write_bytes(whole)
    make(("add", 3, 2), built)
    after = reindex(built)
    assert after.version != before.version
    assert verify_all(built) == []
    assert_as_anew(built)


def test_a_picture_whose_features_were_replaced_in_place_is_embedded_again(islands: DataDir) -> None:
    data, snapshot = load_graph_data(islands), Snapshot.open(islands)
    model = load_trained_model(snapshot.path("model"))
    sums = data.feature_sums.copy()
    sums[7] ^= 1
    made_from = snapshot.manifest["parameters"]["made_from"]
    kept = reusable(snapshot, model, replace(data, feature_sums=sums), made_from)
    assert kept is not None
    assert np.flatnonzero(kept.before.image_of < 0).tolist() == [7]


def test_after_a_snapshot_that_does_not_say_what_images_looked_like_all_are_embedded(
    built: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SnapshotWriter.array

    def without_sums(writer: SnapshotWriter, name: str, array: AnyArray) -> None:
        if name != FEATURE_SUMS:
            known(writer, name, array)

    monkeypatch.setattr(SnapshotWriter, "array", without_sums)  # as it was written once
    reindex(built, full=True)
    monkeypatch.undo()
    make(("add", 1, 1), built)
    reindex(built)
    assert embedded_anew(built) == NUM + 1
    assert f"{FEATURE_SUMS}.npy" in Snapshot.open(built).manifest["files"]


def test_a_snapshot_that_does_not_say_its_index_is_taken_for_one_chosen_by_count(
    built: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IndexChoice, "to_dict", lambda _: None)  # as before there was a choice
    old = reindex(built, full=True)
    assert old.manifest["parameters"]["index"] is None
    assert reindex(built).version == old.version
    assert reindex(built, policy=IndexPolicy("ivfpq")).version != old.version
