"""Neighbours of a whole catalogue at once: measured recall, exact cosines, vectors left where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graph_store.array_files import load_array, save_array
from graph_store.arrays import Float32Array
from graph_store.bulk_neighbours import TARGET_RECALL, BulkNeighbours

NUM, DIM = 6000, 24


@pytest.fixture(scope="module")
def vectors() -> Float32Array:
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((80, DIM))[rng.integers(0, 80, NUM)] + 0.7 * rng.standard_normal((NUM, DIM))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module")
def bulk(vectors: Float32Array) -> BulkNeighbours:
    return BulkNeighbours.build(vectors, 11, -1.0)


def share_found(bulk: BulkNeighbours, vectors: Float32Array, count: int) -> float:
    rows, _ = bulk.near(vectors, count)
    true = np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")[:, :count]
    return float(np.mean([len(set(a) & set(b)) / count for a, b in zip(rows, true, strict=True)]))


def test_the_promised_share_of_all_neighbours_is_found(bulk: BulkNeighbours, vectors: Float32Array) -> None:
    assert bulk.effort.recall >= TARGET_RECALL
    assert share_found(bulk, vectors, 11) >= TARGET_RECALL - 0.01


def test_cosines_are_exact_and_the_nearest_come_first(bulk: BulkNeighbours, vectors: Float32Array) -> None:
    rows, cosines = bulk.near(vectors[:50], 11)
    np.testing.assert_allclose(cosines, np.einsum("nkd,nd->nk", vectors[rows], vectors[:50]), atol=1e-5)
    assert bool((np.diff(cosines, axis=1) <= 0).all())
    assert rows[:, 0].tolist() == list(range(50))


def test_a_graph_misses_hardly_any_neighbour_and_nobody_is_its_own(
    bulk: BulkNeighbours, vectors: Float32Array
) -> None:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    true = np.argsort(-cosines, axis=1, kind="stable")[:, :10]
    graph = bulk.graph(10)
    own = bulk.near(vectors, 11)[0][:, 1:]
    before, after = (
        np.mean([np.isin(each, best).mean() for each, best in zip(rows, true, strict=True)])
        for rows in (own, graph)
    )
    assert after >= 0.99 and 1 - after <= 0.7 * (1 - before)
    assert not bool((graph == np.arange(NUM)[:, None]).any())
    assert all(len(set(row)) == 10 for row in graph.tolist())


def test_no_more_effort_is_made_than_the_vectors_need(bulk: BulkNeighbours) -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(rng.standard_normal((400, DIM)), 5, axis=0) + 0.01 * rng.standard_normal((2000, DIM))
    easy = (groups / np.linalg.norm(groups, axis=1, keepdims=True)).astype(np.float32)
    little = BulkNeighbours.build(easy, 5, 0.9).effort
    assert (little.lists, little.candidates) == (4, 10) != (bulk.effort.lists, bulk.effort.candidates)


def test_places_that_nothing_fills_are_gaps() -> None:
    few = np.eye(DIM, dtype=np.float32)
    rows, cosines = BulkNeighbours.build(few, 5, -1.0).near(few, DIM + 4)
    assert bool((rows[:, DIM:] == -1).all()) and bool((cosines[:, DIM:] == -np.inf).all())
    assert sorted(rows[0, :DIM].tolist()) == list(range(DIM))


def test_vectors_in_a_file_are_searched_as_those_in_memory(
    bulk: BulkNeighbours, vectors: Float32Array, tmp_path: Path
) -> None:
    save_array(tmp_path / "vectors.npy", vectors)
    mapped = BulkNeighbours.build(load_array(tmp_path / "vectors.npy"), 11, -1.0)
    for ours, theirs in zip(mapped.near(vectors[:200], 11), bulk.near(vectors[:200], 11), strict=True):
        np.testing.assert_array_equal(ours, theirs)
