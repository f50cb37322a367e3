"""`similar` edges after a change are those that a search of everything would make."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_store import similar, similar_changes
from graph_store.arrays import AnyArray, Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.faiss_index import FaissIndex
from graph_store.neighbour_index import NeighbourIndex
from graph_store.similar import best_pairs, cosines_of, similar_edges
from graph_store.similar_around import nearer_around
from graph_store.similar_changes import changed_edges


def unit(rows: AnyArray) -> Float32Array:
    scaled: Float32Array = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def vectors(rng: np.random.Generator, num: int) -> Float32Array:
    """Small whole numbers in few dimensions: copies and ties abound."""
    return unit(rng.integers(-2, 3, (num, 4)) + np.array([0.0, 0.0, 0.0, 0.5]))


def copies(num: int, noise: float) -> Float32Array:
    """[num, 16]: one picture many times, the same to the bit or, with noise, all but so."""
    rng = np.random.default_rng(7)
    return unit(rng.standard_normal((1, 16)) + noise * rng.standard_normal((num, 16)))


def peak_memory(of: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        of()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def around_copies(now: Float32Array, num_old: int, k: int) -> tuple[Int64Array, Int64Array]:
    """What comes near to the first of these copies where all, old and new, know the first k of them."""
    known, beside = (
        Csr.from_rows(np.full(num, k), np.tile(np.arange(k), num), np.ones(num * k))
        for num in (num_old, len(now) - num_old)
    )
    worst = np.full(num_old, 0.999, np.float32)
    return nearer_around(now, np.arange(num_old), np.arange(num_old, len(now)), worst, known, beside, k)


def assert_as_anew(
    now: Float32Array, then: Float32Array, old_of: Int64Array, k: int, threshold: float
) -> None:
    found = changed_edges(now, similar_edges(then, k, threshold), old_of, k, threshold)
    assert found.equals(similar_edges(now, k, threshold))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    num=st.integers(1, 60),
    removed=st.floats(0, 1),
    added=st.integers(0, 20),
    k=st.integers(1, 12),
    threshold=st.sampled_from([-1.0, 0.0, 0.65]),
)
def test_edges_after_any_change_are_those_made_anew(
    seed: int, num: int, removed: float, added: int, k: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    then = vectors(rng, num)
    kept = np.flatnonzero(rng.random(num) >= removed)
    now = np.concatenate([then[kept], vectors(rng, added)])
    if len(now):
        assert_as_anew(now, then, np.concatenate([kept, np.full(added, -1)]), k, threshold)


def test_a_new_image_may_come_between_old_ones() -> None:
    then = vectors(np.random.default_rng(1), 30)
    now = np.insert(then, 10, vectors(np.random.default_rng(2), 1), axis=0)
    assert_as_anew(now, then, np.insert(np.arange(30), 10, -1), 5, 0.0)


def test_without_a_change_the_edges_stay_as_they_were() -> None:
    then = vectors(np.random.default_rng(1), 30)
    before = similar_edges(then, 5, 0.0)
    assert changed_edges(then, before, np.arange(30), 5, 0.0).equals(before)


@pytest.mark.parametrize("products", [1, 7, 100])
def test_new_images_are_compared_part_by_part(products: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph_store.similar_changes._PRODUCTS", products)
    rng = np.random.default_rng(3)
    then = vectors(rng, 40)
    now = np.concatenate([then, vectors(rng, 6)])
    assert_as_anew(now, then, np.concatenate([np.arange(40), np.full(6, -1)]), 4, 0.0)


@pytest.mark.parametrize("how", ["removed", "added", "both"])
def test_many_changes_of_a_catalogue_that_can_be_held_against_all_pairs_leave_exact_edges(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = unit(np.random.default_rng(6).standard_normal((3000, 32)))
    kept = np.arange(3000) if how == "added" else np.flatnonzero(np.arange(3000) % 10)
    old_of = kept.copy()
    if how != "removed":
        old_of[-200:] = -1
    now = everything[kept]
    before, exact = similar_edges(everything, 10, 0.0), similar_edges(now, 10, 0.0)
    if how == "added":
        before = similar_edges(now[:-200], 10, 0.0)
    monkeypatch.setattr(similar, "EXACT_UP_TO", 500)
    monkeypatch.setattr(similar, "_MOST_PAIRS", 1_000)
    index = NeighbourIndex(FaissIndex.build(now, "hnsw", effort=16)) if how == "added" else None
    assert changed_edges(now, before, old_of, 10, 0.0, index=index).equals(exact)


def test_a_catalogue_that_has_become_small_enough_for_exact_edges_has_exact_edges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    then = unit(np.random.default_rng(8).standard_normal((600, 16)))
    exact = similar_edges(then, 5, 0.0)
    # As a search of a large one finds them, which overlooks some.
    found = np.setdiff1d(np.arange(exact.num_edges), exact.indptr[:-1][::3])
    before = Csr.from_edges(exact.edge_rows()[found], exact.indices[found], exact.weights[found], 600)
    monkeypatch.setattr(similar, "VERIFIED_UP_TO", 599)
    kept = np.arange(1, 600)
    now = then[kept]
    assert changed_edges(now, before, kept, 5, 0.0).equals(similar_edges(now, 5, 0.0))


def test_many_changes_of_a_large_catalogue_are_looked_up_in_its_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = unit(np.random.default_rng(4).standard_normal((600, 16)))
    old_of = np.where(np.arange(600) < 500, np.arange(600), -1)
    before, exact = similar_edges(now[:500], 5, 0.0), similar_edges(now, 5, 0.0)
    monkeypatch.setattr(similar, "EXACT_UP_TO", 100)
    monkeypatch.setattr(similar, "VERIFIED_UP_TO", 100)
    asked = []

    class Noting(NeighbourIndex):
        def search(self, queries: Float32Array, *how: Any) -> tuple[Int64Array, Float32Array]:
            asked.append(len(queries))
            return super().search(queries, *how)

    index = Noting(FaissIndex.build(now, "hnsw"))
    found = changed_edges(now, before, old_of, 5, 0.0, index=index)
    assert 100 <= sum(asked) < 600
    pairs = [
        set(zip(each.edge_rows().tolist(), each.indices.tolist(), strict=True)) for each in (found, exact)
    ]
    assert len(pairs[0] & pairs[1]) >= 0.98 * len(pairs[1])


def test_images_that_new_ones_come_near_to_are_found_without_comparing_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((60, 24))
    now = unit(centres[rng.integers(0, 60, 6000)] + 0.6 * rng.standard_normal((6000, 24)))
    now = now.astype(np.float32)
    old_of = np.where(rng.random(6000) < 0.95, 0, -1)
    old_of[old_of == 0] = np.arange((old_of == 0).sum())
    before, exact = similar_edges(now[old_of >= 0], 10, 0.3), similar_edges(now, 10, 0.3)
    monkeypatch.setattr(similar, "EXACT_UP_TO", 100)
    monkeypatch.setattr(similar, "VERIFIED_UP_TO", 100)
    monkeypatch.setattr("graph_store.similar_around._PAIRS", 2000)
    index = NeighbourIndex.build(now)
    found = changed_edges(now, before, old_of, 10, 0.3, index=index)
    gained = [
        set(zip(each.edge_rows()[to_new].tolist(), each.indices[to_new].tolist(), strict=True))
        for each in (found, exact)
        for to_new in [(old_of[each.indices] < 0) & (old_of[each.edge_rows()] >= 0)]
    ]
    assert len(gained[1]) > 1000
    assert len(gained[0] & gained[1]) >= 0.99 * len(gained[1])
    assert len(gained[0] - gained[1]) <= 0.01 * len(gained[1])


@pytest.mark.parametrize("noise", [0.0, 1e-7])
@pytest.mark.parametrize("pairs", [1, 300])
@pytest.mark.parametrize("old_copies", [0, 80])
def test_edges_among_many_copies_are_those_made_anew(
    noise: float, pairs: int, old_copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(similar_changes, "_PAIRS", pairs)
    everything = np.concatenate([copies(120, noise), copies(60, 0.3)])
    order = np.random.default_rng(8).permutation(180)
    kept = (order < old_copies) | (order >= 120)
    now = everything[order]
    assert_as_anew(now, now[kept], np.where(kept, np.cumsum(kept) - 1, -1), 5, 0.0)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_new_copies_of_many_old_ones_take_no_memory_for_each_pair(noise: float) -> None:
    now = copies(2400, noise)
    before = similar_edges(now[:2000], 5, 0.3)
    old_of = np.where(np.arange(2400) < 2000, np.arange(2400), -1)
    assert peak_memory(lambda: changed_edges(now, before, old_of, 5, 0.3)) < 50 * 2000 * 400


def test_in_a_large_catalogue_too_copies_take_no_memory_for_each_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("graph_store.similar_around._PAIRS", 2**15)
    now = copies(1500, 1e-7)
    assert peak_memory(lambda: around_copies(now, 1000, 5)) < 25 * 1000 * 500


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_of_many_copies_around_a_new_image_the_nearest_are_the_same_however_many_are_looked_at_at_a_time(
    noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, nearest = copies(150, noise), list[AnyArray]()
    for pairs in (2**20, 64):
        monkeypatch.setattr("graph_store.similar_around._PAIRS", pairs)
        rows, cols = around_copies(now, 100, 5)
        nearest.append(np.array(best_pairs(rows, cols, cosines_of(now, rows, cols), 5, 0.0)))
    np.testing.assert_array_equal(nearest[0], nearest[1])


def test_one_new_image_is_compared_without_a_copy_of_the_others() -> None:
    now = unit(np.random.default_rng(9).standard_normal((4001, 128)))
    before = similar_edges(now[:4000], 2, 0.9)
    old_of = np.append(np.arange(4000), -1)
    assert peak_memory(lambda: changed_edges(now, before, old_of, 2, 0.9)) < now.nbytes / 2


@pytest.mark.parametrize("num_new", [1, 2, 1000, 2**25])
def test_neither_cosines_nor_vectors_of_images_looked_at_at_a_time_fill_the_memory(num_new: int) -> None:
    step = similar_changes._step(num_new)
    assert 1 <= step <= 2**16
    assert step == 1 or step * num_new <= 2**24
