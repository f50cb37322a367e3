"""One picture many times, as a placeholder for those that are missing, in an index of links or of codes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graph_store import faiss_index, index_choice, ivfpq_index
from graph_store.arrays import AnyArray, Float32Array, Int64Array
from graph_store.copies import groups_of_copies
from graph_store.faiss_index import FaissIndex
from graph_store.ivfpq_index import IvfPqIndex
from graph_store.neighbour_index import NeighbourIndex

FEW, COPIES = 2000, 1000


def unit(vectors: AnyArray) -> Float32Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def pictures(num: int, seed: int) -> Float32Array:
    centres = np.random.default_rng(0).standard_normal((40, 32))
    random = np.random.default_rng(seed)
    return unit(centres[random.integers(0, 40, num)] + 0.7 * random.standard_normal((num, 32)))


DIFFERENT, QUESTIONS = pictures(FEW, 1), pictures(200, 2)
PLACEHOLDER = pictures(1, 3)
VECTORS = np.concatenate([DIFFERENT, PLACEHOLDER.repeat(COPIES, axis=0)])


@pytest.fixture(autouse=True)
def _links_at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_choice, "FLAT_BELOW", 1000)


def recall(found: Int64Array, vectors: Float32Array) -> float:
    best = FaissIndex.build(vectors, "flat").search(QUESTIONS, found.shape[1]).rows
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(best, found, strict=True)]))


def linked_as_ever(vectors: Float32Array, monkeypatch: pytest.MonkeyPatch) -> FaissIndex:
    with monkeypatch.context() as patch:
        patch.setattr(faiss_index, "_MOST_COPIES", 10**9)
        return FaissIndex.build(vectors)


@pytest.mark.parametrize("how", ["built", "grown"])
def test_a_search_finds_the_best_beside_many_copies(how: str, tmp_path: Path) -> None:
    if how == "built":
        index = FaissIndex.build(VECTORS)
    else:
        FaissIndex.build(DIFFERENT).save(tmp_path / "index")
        index = FaissIndex.grown(tmp_path / "index", VECTORS)
    assert recall(index.search(QUESTIONS, 20).rows, VECTORS) >= 0.98


@pytest.mark.parametrize("how", ["built", "grown"])
def test_neighbours_are_found_beside_many_copies(how: str, tmp_path: Path) -> None:
    if how == "built":
        index = NeighbourIndex.build(VECTORS)
    else:
        NeighbourIndex.build(DIFFERENT).save(tmp_path / "index")
        index = NeighbourIndex.grown(tmp_path / "index", VECTORS)
    assert recall(index.search(QUESTIONS, 20, -1.0)[0], VECTORS) >= 0.98


def test_an_index_that_was_cut_apart_is_mended_when_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked_as_ever(VECTORS[:-1], monkeypatch).save(tmp_path / "index")
    grown = FaissIndex.grown(tmp_path / "index", VECTORS)
    assert recall(grown.search(QUESTIONS, 20).rows, VECTORS) >= 0.98


def test_what_was_a_copy_is_found_where_it_has_moved_to(tmp_path: Path) -> None:
    vectors = np.concatenate([pictures(4000, 4), PLACEHOLDER.repeat(100, axis=0)])
    moved = np.concatenate([vectors[:4000], pictures(100, 5)])  # too few for a sample to tell
    FaissIndex.build(vectors).save(tmp_path / "index")
    found = FaissIndex.grown(tmp_path / "index", moved).search(moved[4000:], 1).rows[:, 0]
    assert np.mean(found == np.arange(4000, 4100)) >= 0.98


@pytest.mark.parametrize("k", [20, 300])
def test_the_best_for_the_copied_picture_are_its_copies(k: int) -> None:
    found = FaissIndex.build(VECTORS).search(PLACEHOLDER, k).rows[0]
    assert bool((found >= FEW).all())


def test_the_copies_that_are_allowed_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "SCAN_ALLOWED_UP_TO", 0)
    allowed = np.concatenate([np.arange(FEW), np.arange(FEW + 500, FEW + COPIES)])  # of those linked, none
    found = FaissIndex.build(VECTORS).search(PLACEHOLDER, 200, allowed).rows[0]
    assert bool((found >= FEW + 500).all())


def test_a_walk_that_begins_at_any_copy_finds_the_best() -> None:
    index = FaissIndex.build(VECTORS)
    begins = FEW + np.arange(0, COPIES, 5)
    found = [index.nearest(each, 20, near=int(row))[:20] for each, row in zip(QUESTIONS, begins, strict=True)]
    assert recall(np.stack(found), VECTORS) >= 0.98


@pytest.mark.parametrize("apart", [False, True])
def test_an_index_with_many_copies_answers_from_its_file_as_before(apart: bool, tmp_path: Path) -> None:
    built = FaissIndex.build(VECTORS, apart=apart)
    built.save(tmp_path / "index")
    opened = FaissIndex.open(tmp_path / "index", vectors=VECTORS if apart else None)
    assert np.array_equal(opened.search(QUESTIONS, 20).rows, built.search(QUESTIONS, 20).rows)


def test_vectors_inside_an_index_with_many_copies_are_those_it_was_built_of() -> None:
    assert np.array_equal(FaissIndex.build(VECTORS).vectors, VECTORS)


def test_as_many_copies_as_a_row_has_links_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a row was hung")

    monkeypatch.setattr("graph_store.faiss_storage.hang", never)
    assert FaissIndex.build(VECTORS[: FEW + 64]).kind == "hnsw"


def test_a_catalogue_without_many_copies_keeps_its_links_when_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FaissIndex.build(DIFFERENT[:-10]).save(tmp_path / "index")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was built anew")

    monkeypatch.setattr(FaissIndex, "build", never)
    assert FaissIndex.grown(tmp_path / "index", DIFFERENT).size == FEW


def test_copies_are_told_although_their_last_bits_differ() -> None:
    noise = np.random.default_rng(6).uniform(-1e-7, 1e-7, VECTORS.shape).astype(np.float32)
    (group,) = groups_of_copies(VECTORS + noise, 100)
    assert group.tolist() == list(range(FEW, FEW + COPIES))


def test_pictures_that_are_only_alike_are_no_copies() -> None:
    noise = np.random.default_rng(7).normal(0, 1e-3, VECTORS.shape)
    assert groups_of_copies(unit(VECTORS + noise), 10) == []


# -- compressed: the copies have one code, and those beside them may have the same


BESIDE = unit(PLACEHOLDER + np.random.default_rng(8).normal(0, 0.003, (30, 32)))
CROWD = 3000
COMPRESSED = np.concatenate([pictures(9000, 9), PLACEHOLDER.repeat(CROWD, axis=0), BESIDE])


@pytest.fixture(scope="module")
def compressed() -> IvfPqIndex:
    return IvfPqIndex.build(COMPRESSED)


def finding_themselves(index: IvfPqIndex) -> float:
    """The share of the pictures beside the placeholder that are their own nearest."""
    return float(np.mean(index.search(BESIDE, 20).rows[:, 0] == 9000 + CROWD + np.arange(len(BESIDE))))


def test_pictures_beside_many_copies_are_found_by_their_codes(
    compressed: IvfPqIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finding_themselves(compressed) == 1.0
    monkeypatch.setattr(ivfpq_index, "_crowded", lambda _: False)
    assert finding_themselves(compressed) < 0.8  # behind more copies than there are candidates


class Counting:
    """An index of FAISS's that counts how often it is asked."""

    def __init__(self, index: Any) -> None:
        self.asked: list[int] = []
        self._index = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self._index, name)

    def search(self, queries: Float32Array, count: int, **how: Any) -> Any:
        self.asked.append(count)
        return self._index.search(queries, count, **how)


def test_only_a_question_beside_the_copies_is_looked_for_further(compressed: IvfPqIndex) -> None:
    counting = Counting(compressed._index)
    index = IvfPqIndex(counting, COMPRESSED)
    far = QUESTIONS[(QUESTIONS @ PLACEHOLDER[0]) < 0.2]
    index.search(far, 20)
    assert len(far) > 50 and counting.asked == [ivfpq_index.LEAST_RANKED] * len(far)
    counting.asked.clear()
    index.search(PLACEHOLDER, 20)
    assert len(counting.asked) > 1
