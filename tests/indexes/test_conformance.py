"""One suite for every engine behind `VectorIndex`: what one promises, all keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graph_store import ivfpq_index
from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import BadInput
from graph_store.faiss_index import FaissIndex
from graph_store.ivfpq_index import IvfPqIndex
from graph_store.milvus_index import MilvusIndex
from graph_store.milvus_server import MilvusServer
from graph_store.vector_index import SearchResult, VectorIndex

Build = Callable[[Float32Array], VectorIndex]
Reopen = Callable[[VectorIndex, Float32Array, Path], VectorIndex]

ENGINES = (
    "faiss-flat",
    "faiss-hnsw",
    "faiss-ivfpq",
    "faiss-apart-flat",
    "faiss-apart-hnsw",
    "milvus-flat",
    "milvus-hnsw",
)
NUM, DIM = 3000, 24


def drawn(num: int, seed: int) -> Float32Array:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((40, DIM))
    vectors = centres[random.integers(0, len(centres), num)] + 0.7 * random.standard_normal((num, DIM))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


VECTORS, QUERIES = drawn(NUM, 1), drawn(30, 2)
COPIES = np.repeat(drawn(4, 3), 600, axis=0)
RARE = np.arange(7, NUM, 97)
"""Fewer than are sent to a server."""
COMMON = np.flatnonzero(np.random.default_rng(4).random(NUM) < 0.45)
MOST = np.setdiff1d(np.arange(NUM), RARE)


@pytest.fixture(autouse=True)
def filters_inside_the_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a large catalogue, where few filters leave so little that it is compared row by row."""
    monkeypatch.setattr(ivfpq_index, "SCAN_ALLOWED_UP_TO", 100)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def build(engine: str, milvus: MilvusServer) -> Build:
    kind = engine.rpartition("-")[2]

    def in_faiss(vectors: Float32Array) -> VectorIndex:
        if kind == "ivfpq":
            return IvfPqIndex.build(vectors)
        return FaissIndex.build(vectors, "hnsw" if kind == "hnsw" else "flat", apart="apart" in engine)

    def in_milvus(vectors: Float32Array) -> VectorIndex:
        return MilvusIndex.build(milvus, vectors, "hnsw" if kind == "hnsw" else "flat")

    return in_milvus if engine.startswith("milvus") else in_faiss


@pytest.fixture
def index(build: Build) -> VectorIndex:
    return build(VECTORS)


def reopened(index: VectorIndex, vectors: Float32Array, folder: Path, milvus: MilvusServer) -> VectorIndex:
    path = folder / "index"
    index.save(path)
    if isinstance(index, MilvusIndex):
        return MilvusIndex.open(path, milvus, vectors)
    if isinstance(index, IvfPqIndex):
        return IvfPqIndex.open(path, vectors)
    return FaissIndex.open(path, vectors=vectors)


def exactly(queries: Float32Array, k: int, allowed: Int64Array | None = None) -> SearchResult:
    return FaissIndex.build(VECTORS, "flat").search(queries, k, allowed)


def recall(found: Int64Array, true: Int64Array) -> float:
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, true, strict=True)]))


@pytest.mark.parametrize(
    "allowed", [None, COMMON, MOST, RARE], ids=["all", "common ones", "all but some", "rare ones"]
)
def test_the_nearest_are_found_inside_any_filter(
    index: VectorIndex, engine: str, allowed: Int64Array | None
) -> None:
    found, true = index.search(QUERIES, 20, allowed), exactly(QUERIES, 20, allowed)
    if engine.endswith("flat"):
        np.testing.assert_array_equal(found.rows, true.rows)
    else:
        assert recall(found.rows, true.rows) >= 0.95


def test_a_score_is_the_inner_product_to_the_last_bit_whichever_engine_found_it(index: VectorIndex) -> None:
    found, true = index.search(QUERIES, 20), exactly(QUERIES, 20)
    for row, score, rows, scores in zip(found.rows, found.scores, true.rows, true.scores, strict=True):
        known = dict(zip(rows.tolist(), scores.tolist(), strict=True))
        assert all(
            known.get(one, value) == value for one, value in zip(row.tolist(), score.tolist(), strict=True)
        )


def test_scores_fall(index: VectorIndex) -> None:
    assert bool((np.diff(index.search(QUERIES, 50).scores, axis=1) <= 0).all())


def test_copies_come_in_order_of_row(build: Build, engine: str) -> None:
    if not engine.endswith("flat"):
        pytest.skip("an approximate search need not meet the first of a thousand copies")
    found = build(COPIES).search(COPIES[[5, 700, 2399]], 10)
    assert found.rows.tolist() == [[*range(first, first + 10)] for first in (0, 600, 1800)]


def test_many_together_find_what_each_finds_alone(index: VectorIndex) -> None:
    together = index.search(QUERIES, 5)
    for place in range(len(QUERIES)):
        alone = index.search(QUERIES[place : place + 1], 5)
        assert alone.rows[0].tolist() == together.rows[place].tolist()


def test_everything_can_be_asked_for_and_the_rest_is_padding(build: Build) -> None:
    found = build(VECTORS[:50]).search(QUERIES[:1], 60)
    assert sorted(found.rows[0, :50].tolist()) == list(range(50))
    assert found.rows[0, 50:].tolist() == [-1] * 10
    assert bool(np.isneginf(found.scores[0, 50:]).all())


def test_nothing_is_found_where_nothing_is_allowed(index: VectorIndex) -> None:
    assert index.search(QUERIES[:2], 3, np.zeros(0, np.int64)).rows.tolist() == [[-1] * 3] * 2


def test_no_queries_have_no_answers(index: VectorIndex) -> None:
    assert index.search(QUERIES[:0], 3).rows.shape == (0, 3)


def test_an_index_opened_again_answers_the_same(
    index: VectorIndex, milvus: MilvusServer, tmp_path: Path
) -> None:
    again = reopened(index, VECTORS, tmp_path, milvus)
    assert (again.kind, again.size, again.dim) == (index.kind, NUM, DIM)
    for allowed in (None, COMMON):
        before, after = index.search(QUERIES, 5, allowed), again.search(QUERIES, 5, allowed)
        np.testing.assert_array_equal(before.rows, after.rows)
        np.testing.assert_array_equal(before.scores, after.scores)


def test_a_query_of_another_length_is_refused(index: VectorIndex) -> None:
    with pytest.raises(BadInput, match=r"\[1, 5\]"):
        index.search(np.ones((1, 5), np.float32), 3)


def test_a_query_that_is_not_finite_is_refused(index: VectorIndex) -> None:
    with pytest.raises(BadInput, match="not finite"):
        index.search(np.full((1, DIM), np.nan, np.float32), 3)


def test_vectors_that_are_not_finite_are_refused(build: Build) -> None:
    vectors = VECTORS[:20].copy()
    vectors[7, 3] = np.inf
    with pytest.raises(BadInput, match="Vector 7"):
        build(vectors)


@pytest.mark.parametrize("row", [-1, NUM])
def test_a_row_that_is_not_there_cannot_be_allowed(index: VectorIndex, row: int) -> None:
    with pytest.raises(ValueError, match="allowed rows"):
        index.search(QUERIES[:1], 3, np.array([row]))


def test_no_results_cannot_be_asked_for(index: VectorIndex) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        index.search(QUERIES[:1], 0)
