from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_store import index_choice, similar
from graph_store import pairs_above as pairs_module
from graph_store.arrays import AnyArray, Float32Array, Int64Array
from graph_store.bulk_neighbours import BulkNeighbours
from graph_store.neighbour_index import NeighbourIndex
from graph_store.pairs_above import pairs_above
from graph_store.similar import similar_edges


def unit(vectors: AnyArray) -> Float32Array:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def random_unit(num: int, dim: int, seed: int = 0) -> Float32Array:
    return unit(np.random.default_rng(seed).standard_normal((num, dim)).astype(np.float32))


def by_brute_force(vectors: Float32Array, k: int, threshold: float) -> list[list[int]]:
    cosines = np.round(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 5)
    expected = []
    for i, row in enumerate(cosines):
        others = [j for j in range(len(vectors)) if j != i and row[j] >= threshold]
        expected.append(sorted(others, key=lambda j: (-row[j], j))[:k])
    return expected


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 50).flatmap(lambda n: st.lists(st.integers(-1, 1), min_size=3 * n, max_size=3 * n)),
    st.integers(0, 30),
    st.sampled_from([-2.0, 0.1, 0.6, 0.9]),
)
def test_edges_equal_brute_force_copies_and_ties_included(
    numbers: list[int], k: int, threshold: float
) -> None:
    vectors = unit(np.array(numbers, np.float32).reshape(-1, 3))
    edges = similar_edges(vectors, k, threshold)
    assert [edges.row(i)[0].tolist() for i in range(len(vectors))] == by_brute_force(vectors, k, threshold)


def test_weights_are_cosines_nearest_first_and_nobody_is_its_own_neighbour() -> None:
    vectors = random_unit(500, 32)
    edges = similar_edges(vectors, 5, 0.2)
    rows = edges.edge_rows()
    np.testing.assert_allclose(edges.weights, (vectors[rows] * vectors[edges.indices]).sum(axis=1), atol=1e-6)
    assert bool((rows != edges.indices).all())
    assert bool((edges.weights >= 0.2).all())
    assert bool((edges.degrees() <= 5).all())
    for i in range(500):
        assert bool((np.diff(edges.row(i)[1]) <= 0).all())


@pytest.mark.parametrize("num", [0, 1])
def test_one_image_has_no_neighbours(num: int) -> None:
    edges = similar_edges(random_unit(num, 4), 5, 0.0)
    assert (edges.num_rows, edges.num_edges) == (num, 0)


def test_many_copies_of_one_picture_have_their_first_copies_as_neighbours() -> None:
    vectors = np.repeat(random_unit(1, 16), 300, axis=0)
    edges = similar_edges(vectors, 3, 0.5)
    assert edges.row(0)[0].tolist() == [1, 2, 3]
    assert edges.row(2)[0].tolist() == [0, 1, 3]
    assert edges.row(299)[0].tolist() == [0, 1, 2]


def test_a_large_catalogue_is_searched_through_lists_with_the_recall_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(3)
    centres = random.standard_normal((200, 32))
    vectors = unit(centres[random.integers(0, 200, 12_000)] + random.standard_normal((12_000, 32)))
    exact = similar_edges(vectors, 10, 0.3)
    monkeypatch.setattr(similar, "EXACT_UP_TO", 10_000)
    monkeypatch.setattr(similar, "VERIFIED_UP_TO", 11_000)
    listed = similar_edges(vectors, 10, 0.3)
    exact_pairs = set(zip(exact.edge_rows().tolist(), exact.indices.tolist(), strict=True))
    listed_pairs = set(zip(listed.edge_rows().tolist(), listed.indices.tolist(), strict=True))
    assert len(exact_pairs & listed_pairs) / len(exact_pairs) >= 0.97


@pytest.mark.parametrize("threshold", [0.3, 0.75])
def test_what_lists_missed_is_found_by_holding_it_against_all_pairs(
    threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(3)
    centres = random.standard_normal((20, 16))
    vectors = unit(centres[random.integers(0, 20, 2_000)] + random.standard_normal((2_000, 16)))
    vectors[[7, 900, 1_500]] = vectors[3]
    exact = similar_edges(vectors, 10, threshold)

    def missing_much(_: BulkNeighbours, k: int, advance: object) -> Int64Array:
        rows = random.integers(0, 2_000, (2_000, k))
        rows[rows == np.arange(2_000)[:, None]] = -1
        rows.sort(axis=1)
        rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = -1
        return rows

    monkeypatch.setattr(similar, "EXACT_UP_TO", 1_000)
    monkeypatch.setattr(similar, "_MOST_PAIRS", 1_000)
    monkeypatch.setattr(BulkNeighbours, "graph", missing_much)
    assert similar_edges(vectors, 10, threshold).equals(exact)


def test_a_large_catalogue_of_one_picture_is_not_compared_pair_by_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(similar, "EXACT_UP_TO", 1_000)
    vectors = np.concatenate([np.repeat(random_unit(1, 16), 1_500, axis=0), random_unit(500, 16, seed=1)])
    assert pairs_above(vectors, np.full(2_000, 0.9, np.float32), 100_000) is None
    edges = similar_edges(vectors, 5, 0.9)
    assert edges.degrees()[:1_500].tolist() == [5] * 1_500
    assert edges.degrees()[1_500:].max() <= 5


@settings(deadline=None, max_examples=100)
@given(
    num=st.integers(0, 60), dim=st.integers(1, 6), seed=st.integers(0, 2**32), rows=st.integers(1, 9),
    columns=st.integers(1, 20),
)  # fmt: skip
def test_pairs_above_are_those_of_all_pairs(num: int, dim: int, seed: int, rows: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    vectors = unit(random.standard_normal((num, dim)))
    worst = random.uniform(-1, 1, num).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs_module, "_ROWS", rows)
        patch.setattr(pairs_module, "_COLUMNS", columns)
        pairs = pairs_above(vectors, worst, 10**9)
    assert pairs is not None
    found = list(zip(*map(list, pairs), strict=True))
    assert len(set(found)) == len(found)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(cosines, -9)
    above = cosines - worst[:, None]
    assert set(zip(*map(list, np.nonzero(above >= 1e-6)), strict=True)) <= set(found)
    assert all(above[pair] >= -2e-5 for pair in found)


def test_a_query_finds_the_neighbours_it_would_have_as_an_image(tmp_path: Path) -> None:
    vectors = random_unit(400, 16)
    NeighbourIndex.build(vectors[:-1]).save(tmp_path / "neighbours.faiss")
    index = NeighbourIndex.open(tmp_path / "neighbours.faiss")
    assert (index.size, index.dim) == (399, 16)
    rows, weights = index.search(vectors[-1:], 20, 0.6)
    edges = similar_edges(vectors, 20, 0.6).row(399)
    found = int((rows[0] >= 0).sum())
    assert 0 < found < 20
    assert rows[0, :found].tolist() == edges[0].tolist()
    assert weights[0, :found].tolist() == edges[1].tolist()
    assert rows[0, found:].tolist() == [-1] * (20 - found)
    assert weights[0, found:].tolist() == [0.0] * (20 - found)


@pytest.mark.parametrize("compressed", [False, True])
def test_many_queries_at_once_find_what_each_finds_alone(
    compressed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_choice, "COMPRESSED_FROM", 100 if compressed else 10**9)
    rng = np.random.default_rng(4)
    centres = rng.standard_normal((50, 16))
    vectors = unit(centres[rng.integers(0, 50, 3000)] + 0.5 * rng.standard_normal((3000, 16)))
    NeighbourIndex.build(vectors, apart=True).save(tmp_path / "neighbours.faiss")
    index = NeighbourIndex.open(tmp_path / "neighbours.faiss", vectors)
    assert (index.compressed is not None) == compressed
    rows, _ = index.search(vectors[:200], 10, 0.7)
    near = index.near(vectors[:200], 10, 0.7)
    alike = [len(set(a) & set(b)) / len(set(a)) for a, b in zip(rows.tolist(), near.tolist(), strict=True)]
    assert np.mean(alike) >= 0.99
