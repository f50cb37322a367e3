"""Candidates by code, order by vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnn.hashing.codes import CodeSpace, HashCodes, unit_rows
from gnn.hashing.hashed_index import MEANING, HashedIndex
from gnn.hashing.rotation import rotated_head
from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import BadInput, CorruptFile
from graph_store.faiss_index import FaissIndex
from graph_store.vector_index import VectorIndex

NUM, DIM, LOOKS = 600, 24, 8


def vectors(seed: int = 0, num: int = NUM) -> Float32Array:
    random = np.random.default_rng(seed)
    return unit_rows(random.standard_normal((num, DIM)).astype(np.float32))


def hashing(reranked: int = 100) -> HashCodes:
    looks = (np.arange(DIM) < LOOKS).astype(np.float32)
    space = CodeSpace(np.ones(DIM, np.float32), looks)
    items = vectors()
    seen = space.looks_of(items)
    return HashCodes(
        space,
        {64: rotated_head(items, items.mean(axis=0), 64, 0)},
        rotated_head(seen, seen.mean(axis=0), 64, 0),
        bits=64,
        reranked=reranked,
    )


@pytest.fixture(scope="module")
def index() -> HashedIndex:
    return HashedIndex.build(hashing(), vectors())


def test_it_is_a_vector_index(index: HashedIndex) -> None:
    as_any_other: VectorIndex = index
    assert (as_any_other.kind, as_any_other.dim, as_any_other.size) == ("hash", DIM, NUM)


def test_scores_are_exact_and_fall(index: HashedIndex) -> None:
    queries = vectors(1, 5)
    found = index.search(queries, 20)
    assert bool((np.diff(found.scores, axis=1) <= 0).all())
    for query, scores, rows in zip(queries, found.scores, found.rows, strict=True):
        np.testing.assert_allclose(scores, vectors()[rows] @ query, atol=1e-6)


def test_when_all_rows_are_ranked_again_the_answer_is_that_of_an_exact_index() -> None:
    queries = vectors(1, 5)
    found = HashedIndex.build(hashing(reranked=NUM), vectors()).search(queries, 30)
    np.testing.assert_array_equal(found.rows, FaissIndex.build(vectors(), "flat").search(queries, 30).rows)


@pytest.mark.parametrize("part", ["looks", "meaning", "both"])
def test_most_of_the_best_are_among_the_candidates_at_every_place_of_the_slider(
    part: str, index: HashedIndex
) -> None:
    mask = (
        np.ones(DIM)
        if part == "both"
        else np.arange(DIM) < LOOKS
        if part == "looks"
        else np.arange(DIM) >= LOOKS
    )
    queries = unit_rows((vectors(2, 40) * mask).astype(np.float32))
    best = FaissIndex.build(vectors(), "flat").search(queries, 10).rows
    found = index.search(queries, 10).rows
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best.tolist(), found.tolist(), strict=True)])
    assert shared > 0.8


def found_by_looks(index: HashedIndex) -> float:
    """The share of the ten best at the visual end that are found."""
    queries = unit_rows((vectors(2, 40) * (np.arange(DIM) < LOOKS)).astype(np.float32))
    best = FaissIndex.build(vectors(), "flat").search(queries, 10).rows
    found = index.search(queries, 10).rows
    return float(np.mean([np.isin(some, all_).mean() for some, all_ in zip(best, found, strict=True)]))


def test_the_looks_code_is_what_finds_the_best_by_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    index = HashedIndex.build(hashing(reranked=30), vectors())
    with_code = found_by_looks(index)
    monkeypatch.setattr(CodeSpace, "share_of_looks", lambda _, inputs: np.zeros(len(inputs), np.float32))
    assert with_code > 0.7
    assert found_by_looks(index) < with_code - 0.06  # both codes are random here: the margin is no large one


def test_a_filter_is_applied_inside_the_search(index: HashedIndex) -> None:
    query, allowed = vectors(1, 1), np.arange(3, NUM, 7)
    found = index.search(query, 20, allowed).rows[0]
    assert set(found.tolist()) <= set(allowed.tolist())
    assert len(found) == 20
    few = index.search(query, 20, np.array([5, 9, 5])).rows[0]
    assert sorted(few[:2].tolist()) == [5, 9]
    assert bool((few[2:] == -1).all())


def test_rows_that_are_sorted_already_are_not_sorted_again(
    index: HashedIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    sorted_anew, unique = [], np.unique

    def noting(rows: Int64Array) -> Int64Array:
        sorted_anew.append(len(rows))
        return unique(rows)

    monkeypatch.setattr(np, "unique", noting)
    found = index.search(vectors(1, 1), 5, np.arange(1, NUM)).rows[0]
    assert 0 not in found
    assert NUM - 1 not in sorted_anew


def test_more_can_be_asked_for_than_are_ranked_again(index: HashedIndex) -> None:
    rows = index.search(vectors(1, 1), NUM + 5).rows[0]
    assert sorted(rows[rows >= 0].tolist()) == list(range(NUM))


def test_one_query_gets_the_answer_that_it_gets_among_others(index: HashedIndex) -> None:
    queries = vectors(1, 4)
    together = index.search(queries, 10).rows
    alone = [index.search(query[None], 10).rows[0] for query in queries]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_what_was_saved_answers_alike(index: HashedIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "codes")
    opened = HashedIndex.open(tmp_path / "codes", hashing(), vectors())
    query = vectors(1, 3)
    np.testing.assert_array_equal(opened.search(query, 10).rows, index.search(query, 10).rows)


def test_codes_of_other_vectors_are_refused_by_name(index: HashedIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "codes")
    with pytest.raises(CorruptFile, match=f"{MEANING} holds 600 codes of 64 bits, not 10 of 64"):
        HashedIndex.open(tmp_path / "codes", hashing(), vectors(0, 10))


def test_an_empty_index_answers_with_nothing() -> None:
    found = HashedIndex.build(hashing(), vectors(0, 0)).search(vectors(1, 2), 3)
    assert bool((found.rows == -1).all())


def test_what_cannot_be_asked_is_refused(index: HashedIndex) -> None:
    with pytest.raises(BadInput, match="24"):
        index.search(np.zeros((1, 3), np.float32), 5)
    with pytest.raises(BadInput, match="finite"):
        index.search(np.full((1, DIM), np.nan, np.float32), 5)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(vectors(1, 1), 0)
    with pytest.raises(ValueError, match="allowed rows"):
        index.search(vectors(1, 1), 5, np.array([NUM]))
