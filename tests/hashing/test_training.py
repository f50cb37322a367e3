"""Learnt codes: repeatable, better than codes without labels, and served from a snapshot."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gnn.evaluation.hash_part import hash_part
from gnn.evaluation.metrics import ideal_gains, ndcg_at_k, ranked_gains
from gnn.evaluation.questions import Questions
from gnn.evaluation.relevance import TagTable, jaccard_gains
from gnn.graph_data import load_graph_data
from gnn.hashing.codes import LENGTHS, CodeHead, CodeSpace, HashCodes
from gnn.hashing.hashed_index import MEANING, HashedIndex
from gnn.hashing.rotation import principal_head, random_head
from gnn.hashing.training import with_codes
from gnn.query import Query, QueryEngine
from gnn.reindex import reindex
from gnn.trained_model import load_trained_model
from gnn.training import train
from graph_store.arrays import BoolArray, Float32Array
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile
from graph_store.features import FeatureFile
from graph_store.milvus_server import MilvusServer
from graph_store.progress import SilentProgress
from graph_store.snapshot import Snapshot
from tests.gnn.worlds import (
    drawn_data,
    drawn_features,
    drawn_records,
    drawn_tags,
    trained,
    write_catalogue,
)

TAGS = tuple("abcdefghij")
NUM, HELD_OUT, ASKED = 240, 60, 120


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """240 drawn images of ten tags and 60 held-out ones, with preset `hash` trained and indexed."""
    chosen = drawn_tags(NUM + HELD_OUT, tags=TAGS)
    records = [
        replace(record, split="test") if record.row >= NUM else record
        for record in drawn_records(chosen, TAGS)
    ]
    features = drawn_features(chosen, noise=1.0)
    data_dir = write_catalogue(tmp_path_factory.mktemp("hash"), records, features)
    train(data_dir, "hash", epochs=1)
    reindex(data_dir)
    return data_dir


@pytest.fixture
def engine(built: DataDir) -> QueryEngine:
    return QueryEngine.open(Snapshot.open(built))


def indexed_tags() -> BoolArray:
    """[240, 10]: what the indexed images carry."""
    return drawn_tags(NUM + HELD_OUT, tags=TAGS)[:NUM]


def hashing_of(data_dir: DataDir) -> HashCodes:
    hashing = load_trained_model(data_dir.models_dir / "hash").hashing
    assert hashing is not None
    return hashing


def asked() -> tuple[BoolArray, Float32Array]:
    """New pictures: what they show, and their features."""
    shown = drawn_tags(ASKED, seed=9, tags=TAGS)
    return shown, drawn_features(shown, seed=9, noise=1.0)


def ndcg_by_hamming(engine: QueryEngine, hashing: HashCodes, head: CodeHead) -> float:
    """nDCG@10 of plain Hamming distance for new pictures in the middle of the slider."""
    shown, features = asked()
    vectors = engine.embed_many([Query(images=picture[None]) for picture in features])
    queries = hashing.space.of_queries(np.stack([each.blend(0.5) for each in vectors]))
    items = hashing.space.of_index(engine.image_vectors(np.arange(NUM)))
    signs = [np.where(head.outputs(inputs) > 0, 1, -1).astype(np.float32) for inputs in (queries, items)]
    gains = jaccard_gains(TagTable.from_dense(shown), TagTable.from_dense(indexed_tags()))
    ranked = ranked_gains(signs[0] @ signs[1].T, gains, 10)
    return float(np.nanmean(ndcg_at_k(ranked, ideal_gains(gains, 10), 10)))


def test_short_learnt_codes_are_far_better_than_codes_without_labels(
    built: DataDir, engine: QueryEngine
) -> None:
    hashing = hashing_of(built)
    items = hashing.space.of_index(engine.image_vectors(np.arange(NUM)))
    mean = items.mean(axis=0)
    learnt = ndcg_by_hamming(engine, hashing, hashing.heads[16])
    others = [
        ndcg_by_hamming(engine, hashing, head)
        for head in (random_head(mean, 16, 0), principal_head(items, mean, 16))
    ]
    # A head with its bits shuffled between queries and index, or none learnt, is at best among the others.
    assert learnt > max(others) + 0.03


def test_the_longest_codes_keep_what_the_vectors_find(built: DataDir, engine: QueryEngine) -> None:
    hashing = hashing_of(built)
    shown, features = asked()
    gains = jaccard_gains(TagTable.from_dense(shown), TagTable.from_dense(indexed_tags()))
    vectors = engine.embed_many([Query(images=picture[None]) for picture in features])
    scores = np.stack([each.blend(0.5) for each in vectors]) @ engine.image_vectors(np.arange(NUM)).T
    exact = float(np.nanmean(ndcg_at_k(ranked_gains(scores, gains, 10), ideal_gains(gains, 10), 10)))
    assert ndcg_by_hamming(engine, hashing, hashing.heads[256]) >= 0.92 * exact


def test_the_evaluation_holds_codes_against_codes_without_labels_and_against_vectors(built: DataDir) -> None:
    data, snapshot = load_graph_data(built), Snapshot.open(built)
    model = load_trained_model(built.models_dir / "hash")
    table = FeatureFile.open(built.features_dir, data.encoder.slug, data.encoder.dim).view()
    with Catalog.open(built.catalog_path) as catalog:
        held_out, indexed = list(catalog.records("test")), list(catalog.records("train"))
    questions = Questions.build(data.ids, data.tag_names, indexed, held_out, table)
    part = hash_part({"hash": QueryEngine.open(snapshot)}, {"hash": model}, questions)
    figures = {row.system: {name: each.mean for name, each in row.figures.items()} for row in part.rows}
    assert len(figures) == 1 + 4 * len(LENGTHS) + 1
    for name in ("NDCG@100", "ACG@100", "WMAP", "nDCG@10"):
        assert figures["hash, 16 bits"][name] > figures["sign of embedding, 16 bits"][name]
    assert figures["hash, 256 bits, 200 ranked again"]["kept"] >= 0.98
    assert figures["hash, 256 bits"]["kept"] >= 0.92


def test_without_hash_codes_the_part_says_how_to_get_them(built: DataDir) -> None:
    model = replace(load_trained_model(built.models_dir / "hash"), hashing=None)
    data = load_graph_data(built)
    with Catalog.open(built.catalog_path) as catalog:
        records = list(catalog.records("train"))
    questions = Questions.build(data.ids, data.tag_names, records, records[:5], data.features)
    engine = QueryEngine.open(Snapshot.open(built))
    assert "--preset hash" in hash_part({"hash": engine}, {"hash": model}, questions).not_applicable


def test_every_length_is_there_and_the_longest_serves(built: DataDir, engine: QueryEngine) -> None:
    hashing = hashing_of(built)
    assert tuple(sorted(hashing.heads)) == LENGTHS
    assert {bits: head.bits for bits, head in hashing.heads.items()} == {bits: bits for bits in LENGTHS}
    assert hashing.bits == 256


def test_the_same_seed_gives_the_same_heads(built: DataDir, tmp_path: Path) -> None:
    shutil.copytree(built.root, tmp_path / "again")
    again = DataDir(tmp_path / "again")
    train(again, "hash", epochs=1)
    for bits, head in hashing_of(built).heads.items():
        np.testing.assert_array_equal(head.weight, hashing_of(again).heads[bits].weight)


def test_the_snapshot_answers_with_exact_scores_in_two_parts(built: DataDir, engine: QueryEngine) -> None:
    _, features = asked()
    vectors = engine.embed(Query(images=features[:1]))
    for v in (0.0, 0.5, 1.0):
        hits = engine.search(vectors, v, 10)
        np.testing.assert_allclose(hits.score, hits.visual + hits.conceptual, atol=1e-6)
        expected = engine.image_vectors(hits.rows) @ vectors.blend(v)
        np.testing.assert_allclose(hits.score, expected, atol=1e-5)


def found_at(engine: QueryEngine, v: float, reranked: int) -> float:
    """The share of the ten best by their vectors that are among the ten found, for 40 new pictures."""
    hashing = engine._trained.hashing
    assert hashing is not None
    items = engine.image_vectors(np.arange(NUM))
    index = HashedIndex.build(replace(hashing, reranked=reranked), items)
    asked_with = [engine.embed(Query(images=picture[None])).blend(v) for picture in asked()[1][:40]]
    best = np.argsort(-(np.stack(asked_with) @ items.T), axis=1)[:, :10]
    found = index.search(np.stack(asked_with), 10).rows
    return float(np.mean([np.isin(some, all_).mean() for some, all_ in zip(best, found, strict=True)]))


@pytest.mark.parametrize("v", [0.0, 1.0])
def test_both_ends_of_the_slider_find_what_the_vectors_find(engine: QueryEngine, v: float) -> None:
    assert found_at(engine, v, reranked=40) >= 0.9


def test_the_visual_end_is_found_by_the_looks_code(
    engine: QueryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_code = found_at(engine, 1.0, reranked=20)
    monkeypatch.setattr(CodeSpace, "share_of_looks", lambda _, inputs: np.zeros(len(inputs), np.float32))
    assert found_at(engine, 1.0, reranked=20) < with_code - 0.2


def test_a_filter_and_the_image_itself_are_left_out_inside_the_search(engine: QueryEngine) -> None:
    vectors, allowed = engine.embed(Query(indexed_row=6)), np.arange(0, NUM, 3)
    hits = engine.search(vectors, 0.5, 50, allowed, exclude=(6,))
    assert len(hits.rows) == 50
    assert set(hits.rows.tolist()) <= set(allowed.tolist()) - {6}


def test_altered_codes_are_refused_by_name(built: DataDir, tmp_path: Path) -> None:
    shutil.copytree(built.root, tmp_path / "copy")
    (path,) = (tmp_path / "copy").glob(f"snapshots/*/codes/{MEANING}")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptFile, match=MEANING):
        Snapshot.open(DataDir(tmp_path / "copy"))


def test_a_catalogue_with_hardly_any_tags_keeps_codes_without_labels(tmp_path: Path) -> None:
    chosen = drawn_tags(60, tags=TAGS)
    chosen[20:] = False
    data_dir = write_catalogue(tmp_path / "few", drawn_records(chosen, TAGS), drawn_features(chosen))
    train(data_dir, "hash", epochs=1)
    reindex(data_dir)
    engine = QueryEngine.open(Snapshot.open(data_dir))
    assert len(engine.search(engine.embed(Query(indexed_row=0)), 0.5, 5).rows) == 5


def test_codes_of_another_model_of_the_same_catalogue_are_not_taken_up_again(tmp_path: Path) -> None:
    data = drawn_data(NUM)
    first = trained(data, tmp_path / "model", epochs=1)
    second = replace(first, model=copy.deepcopy(first.model))
    rng = torch.Generator().manual_seed(0)
    for tensor in second.model.state_dict().values():
        tensor += 0.1 * torch.randn(tensor.shape, generator=rng)
    with_heads = partial(
        with_codes,
        data=data,
        learn=lambda part: trained(part, tmp_path / "part", epochs=1),
        out_dir=tmp_path / "codes",
        seed=0,
        progress=SilentProgress(),
    )
    with_heads(first, resume=False)
    gone_on = with_heads(second, resume=True).hashing
    anew = with_heads(second, resume=False).hashing
    assert gone_on is not None and anew is not None
    expected = anew.tensors()
    for name, tensor in gone_on.tensors().items():
        assert torch.equal(tensor, expected[name])


def test_a_server_for_vectors_is_refused_before_the_work(
    built: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnn.reindex.load_graph_data", lambda *args: pytest.fail("the catalogue was read"))
    with pytest.raises(BadInput, match="not in Milvus"):
        reindex(built, full=True, milvus=MilvusServer("http://127.0.0.1:9"))


def test_codes_of_another_catalogue_are_not_taken_up_again(tmp_path: Path) -> None:
    first, second = (
        write_catalogue(tmp_path / name, drawn_records(chosen, TAGS), drawn_features(chosen, noise=1.0))
        for name, chosen in ((str(seed), drawn_tags(NUM, seed, TAGS)) for seed in (0, 1))
    )
    train(first, "hash", epochs=1)
    # As many images and tags, but others: what is in the checkpoint fits in every other respect.
    shutil.copytree(first.models_dir, second.models_dir, dirs_exist_ok=True)
    learnt = []
    for resume in (True, False):
        train(second, "hash", epochs=1, resume=resume)
        hashing = load_trained_model(second.models_dir / "hash").hashing
        assert hashing is not None
        learnt.append(hashing.tensors())
    for name, tensor in learnt[0].items():
        assert torch.equal(tensor, learnt[1][name])
