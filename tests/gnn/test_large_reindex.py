"""A catalogue that counts as large is searched in compressed codes where that is quick, else by links."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gnn.graph_index import COMPRESSED, LOOKS, NEIGHBOURS, open_index
from gnn.query import Query, QueryEngine
from gnn.reindex import reindex
from gnn.training import train
from graph_store import index_choice, ivfpq_index, similar
from graph_store.data_dir import DataDir
from graph_store.index_choice import IndexPolicy
from graph_store.ivfpq_index import IvfPqIndex
from graph_store.snapshot import Snapshot
from tests.gnn.test_changed_reindex import make
from tests.gnn.worlds import drawn_features, drawn_records, drawn_tags, write_catalogue

pytestmark = pytest.mark.usefixtures("kept_text_encoder")

NUM = 400
FEW, ALL = 1, 10**9


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    chosen = drawn_tags(NUM)
    data_dir = write_catalogue(
        tmp_path_factory.mktemp("large"), drawn_records(chosen), drawn_features(chosen)
    )
    train(data_dir, epochs=1, options={"neighbours": "4"})
    return data_dir


@pytest.fixture
def data_dir(trained: DataDir, tmp_path: Path) -> DataDir:
    shutil.copytree(trained.root, tmp_path / "data")
    return DataDir(tmp_path / "data")


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 images are many, and nothing is compared with all."""
    monkeypatch.setattr(index_choice, "FLAT_BELOW", 50)
    monkeypatch.setattr(index_choice, "COMPRESSED_FROM", 100)
    monkeypatch.setattr(similar, "EXACT_UP_TO", 60)
    monkeypatch.setattr(similar, "VERIFIED_UP_TO", 60)
    monkeypatch.setattr(ivfpq_index, "LEAST_RANKED", 80)
    reading(ALL, monkeypatch)


def reading(codes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_choice, "MOST_CODES_READ", codes)


def kinds(snapshot: Snapshot) -> tuple[str, str, str]:
    """What is said to be the search index, what it is, and what the neighbours are found in."""
    index = open_index(snapshot)
    near = "hnsw" if index.neighbours.compressed is None else "ivfpq"
    return snapshot.manifest["parameters"]["index"]["kind"], index.index.kind, near


def test_codes_that_are_read_quickly_serve_both_searches(data_dir: DataDir) -> None:
    snapshot = reindex(data_dir)
    assert kinds(snapshot) == ("ivfpq", "ivfpq", "ivfpq")
    assert {COMPRESSED, f"{LOOKS}.npy", NEIGHBOURS} <= set(snapshot.manifest["files"])
    reason = snapshot.manifest["parameters"]["index"]["reason"]
    assert reason == f"Of {NUM} compressed images a search reads at most {ALL:,}."


def test_where_codes_are_read_slowly_links_are_walked(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading(FEW, monkeypatch)
    snapshot = reindex(data_dir)
    assert kinds(snapshot) == ("hnsw", "hnsw", "hnsw")
    assert COMPRESSED not in snapshot.manifest["files"]
    assert snapshot.manifest["parameters"]["index"]["reason"].endswith("a search reads more than 1.")


@pytest.mark.parametrize("codes", [FEW, ALL])
def test_either_finds_the_edges_and_answers_of_a_comparison_with_all(
    data_dir: DataDir, codes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading(codes, monkeypatch)
    found = open_index(reindex(data_dir))
    looks = np.asarray(found.neighbours.vectors)
    cosines = looks @ looks.T
    np.fill_diagonal(cosines, -1)
    best = np.sort(cosines, axis=1)[:, -4]
    kept = found.graph.similar
    assert np.mean(kept.weights >= best[kept.edge_rows()] - 1e-5) >= 0.98
    engine = QueryEngine(found)
    rng = np.random.default_rng(2)
    pictures = np.asarray(found.features[:20]) + 0.01 * rng.standard_normal((20, found.features.shape[1]))
    for picture in pictures.astype(np.float32):
        vectors = engine.embed(Query(images=picture[None]))
        scores = np.asarray(found.states.embeddings) @ vectors.blend(0.5)
        hits = engine.search(vectors, 0.5, 10)
        np.testing.assert_allclose(hits.score, np.sort(scores)[::-1][:10], atol=1e-4)


@pytest.mark.parametrize("codes", [FEW, ALL])
@pytest.mark.parametrize("change", [("add", 3, 5), ("delete", 3, 5)])
def test_a_change_keeps_the_kind_that_is_there(
    data_dir: DataDir, codes: int, change: tuple[str, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading(codes, monkeypatch)
    before = reindex(data_dir)
    reading(FEW if codes == ALL else ALL, monkeypatch)
    assert reindex(data_dir).version == before.version
    make(change, data_dir)
    after = reindex(data_dir)
    assert after.version != before.version
    assert kinds(after)[:2] == kinds(before)[:2]
    assert after.manifest["parameters"]["embedded_anew"] < NUM
    index = open_index(after)
    vectors = np.asarray(index.states.embeddings)
    assert index.index.size == index.neighbours.size == NUM + (5 if change[0] == "add" else -5)
    wanted = np.sort(vectors[-40:] @ vectors.T, axis=1)[:, :-6:-1]
    np.testing.assert_allclose(index.index.search(vectors[-40:], 5).scores, wanted, atol=1e-4)


@pytest.mark.parametrize("change", [("add", 3, 5), ("delete", 3, 5), ("retag", 3, 5)])
def test_codes_that_still_hold_are_kept_after_any_change(
    data_dir: DataDir, change: tuple[str, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reindex(data_dir)
    monkeypatch.setattr(IvfPqIndex, "build", None)
    make(change, data_dir)
    index = open_index(reindex(data_dir))
    for found, vectors in (
        (index.index, np.asarray(index.states.embeddings)),
        (index.neighbours.compressed, np.asarray(index.neighbours.vectors)),
    ):
        assert isinstance(found, IvfPqIndex)
        wanted = np.sort(vectors @ vectors.T, axis=1)[:, :-6:-1]
        np.testing.assert_allclose(found.search(vectors, 5).scores, wanted, atol=1e-4)


def test_a_full_reindex_chooses_again(data_dir: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    reading(FEW, monkeypatch)
    reindex(data_dir)
    reading(ALL, monkeypatch)
    assert kinds(reindex(data_dir, full=True)) == ("ivfpq", "ivfpq", "ivfpq")


def test_added_images_are_embedded_and_joined_as_by_a_full_reindex(data_dir: DataDir) -> None:
    reindex(data_dir)
    make(("add", 4, 6), data_dir)
    grown, anew = open_index(reindex(data_dir)), open_index(reindex(data_dir, full=True))
    assert grown.neighbours.compressed is not None
    near = np.abs(np.asarray(grown.states.embeddings) - np.asarray(anew.states.embeddings)).max(axis=1)
    assert np.mean(near < 1e-4) >= 0.98
    np.testing.assert_allclose(grown.neighbours.vectors, anew.neighbours.vectors, atol=1e-5)


@pytest.mark.parametrize("change", [("add", 4, 6), ("delete", 4, 6), ("retag", 4, 6)])
def test_where_edges_are_exact_a_change_gives_what_a_full_reindex_gives(
    data_dir: DataDir, change: tuple[str, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar, "EXACT_UP_TO", 300)
    monkeypatch.setattr(similar, "VERIFIED_UP_TO", 2 * NUM)
    reindex(data_dir)
    make(change, data_dir)
    grown, anew = open_index(reindex(data_dir)), open_index(reindex(data_dir, full=True))
    assert grown.graph.similar.equals(anew.graph.similar)
    np.testing.assert_allclose(grown.states.embeddings, anew.states.embeddings, atol=1e-4)


def test_an_index_of_links_with_its_vectors_inside_grows_past_the_size(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_choice, "COMPRESSED_FROM", NUM + 3)
    before = reindex(data_dir)
    assert f"{LOOKS}.npy" not in before.manifest["files"]
    make(("add", 4, 6), data_dir)
    after = reindex(data_dir)
    assert kinds(after) == ("hnsw", "hnsw", "hnsw")
    assert f"{LOOKS}.npy" in after.manifest["files"]
    assert (after.path(NEIGHBOURS)).stat().st_size < before.path(NEIGHBOURS).stat().st_size
    assert open_index(after).neighbours.size == NUM + 6


def test_an_index_that_is_asked_for_by_name_is_not_judged(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading(FEW, monkeypatch)
    assert kinds(reindex(data_dir, policy=IndexPolicy("ivfpq")))[:2] == ("ivfpq", "ivfpq")
