from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_store import faiss_index, faiss_storage
from graph_store.arrays import AnyArray, Float32Array, Int64Array
from graph_store.errors import BadInput, CorruptFile, Unwritable
from graph_store.faiss_api import faiss
from graph_store.faiss_index import FaissIndex
from graph_store.vector_index import VectorIndex


def unit(vectors: AnyArray) -> Float32Array:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def clustered(num: int, dim: int, clusters: int) -> Float32Array:
    random = np.random.default_rng(0)
    centres = random.standard_normal((clusters, dim))
    return unit(centres[random.integers(0, clusters, num)] + 0.7 * random.standard_normal((num, dim)))


def brute_force(vectors: Float32Array, query: Float32Array, k: int, allowed: Int64Array | None) -> list[int]:
    rows = range(len(vectors)) if allowed is None else sorted(set(allowed.tolist()))
    score = {row: float((vectors[row].astype(np.float64) * query).sum()) for row in rows}
    return sorted(rows, key=lambda row: (-round(score[row], 5), row))[:k]


@st.composite
def searches(draw: st.DrawFn) -> tuple[Float32Array, Float32Array, int, Int64Array | None]:
    # Few whole numbers in few dimensions: many equal vectors and many equal scores.
    dim = draw(st.integers(1, 4))
    num = draw(st.integers(0, 60))
    numbers = st.integers(-1, 1)
    vectors = np.array(draw(st.lists(numbers, min_size=num * dim, max_size=num * dim)), np.float32)
    queries = np.array(draw(st.lists(numbers, min_size=3 * dim, max_size=3 * dim)), np.float32)
    allowed = draw(st.none() | st.lists(st.integers(0, num - 1), max_size=num)) if num else None
    rows = None if allowed is None else np.array(allowed, np.int64)
    return unit(vectors.reshape(num, dim)), unit(queries.reshape(3, dim)), draw(st.integers(1, 30)), rows


@pytest.mark.parametrize("scan_up_to", [0, 20_000])
@settings(deadline=None, max_examples=150)
@given(case=searches())
def test_a_flat_search_equals_brute_force_ties_and_filter_included(
    scan_up_to: int, case: tuple[Float32Array, Float32Array, int, Int64Array | None]
) -> None:
    vectors, queries, k, allowed = case
    index = FaissIndex.build(vectors, "flat")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss_index, "SCAN_ALLOWED_UP_TO", scan_up_to)  # both ways of filtering, on small data
        result = index.search(queries, k, allowed)
    for query, scores, rows in zip(queries, result.scores, result.rows, strict=True):
        expected = brute_force(vectors, query, k, allowed)
        assert rows.tolist() == expected + [-1] * (k - len(expected))
        np.testing.assert_allclose(scores[: len(expected)], vectors[expected] @ query, atol=1e-6)
        assert bool(np.isneginf(scores[len(expected) :]).all())


def test_a_pair_has_one_score_however_it_is_asked() -> None:
    vectors = clustered(3000, 67, 20)
    index = FaissIndex.build(vectors)
    together = index.search(vectors[:50], 40)
    for i in range(50):
        alone = index.search(vectors[i : i + 1], 25)
        assert alone.rows[0].tolist() == together.rows[i, :25].tolist()
        assert alone.scores[0].tolist() == together.scores[i, :25].tolist()
        some = index.search(vectors[i : i + 1], 25, np.sort(together.rows[i]))
        assert some.rows[0].tolist() == alone.rows[0].tolist()
        assert some.scores[0].tolist() == alone.scores[0].tolist()


def test_a_thousand_copies_come_in_order_of_row() -> None:
    vectors = np.repeat(clustered(3, 33, 3), 1000, axis=0)
    result = FaissIndex.build(vectors, "flat").search(vectors[[5, 1500, 2999]], 10)
    assert result.rows.tolist() == [[*range(first, first + 10)] for first in (0, 1000, 2000)]


@pytest.fixture(scope="module")
def large() -> tuple[FaissIndex, FaissIndex, Float32Array]:
    everything = clustered(25_200, 64, 250)
    vectors, queries = everything[:25_000], everything[25_000:]
    return FaissIndex.build(vectors, "auto"), FaissIndex.build(vectors, "flat"), queries


def recall(found: Int64Array, true: Int64Array) -> float:
    return float(
        np.mean([len({*a.tolist()} & {*b.tolist()}) / len(b) for a, b in zip(found, true, strict=True)])
    )


def test_auto_is_flat_when_small_and_hnsw_when_large(
    large: tuple[FaissIndex, FaissIndex, Float32Array],
) -> None:
    assert FaissIndex.build(clustered(19, 8, 2)).kind == "flat"
    assert large[0].kind == "hnsw"
    assert (large[0].size, large[0].dim) == (25_000, 64)


@pytest.mark.parametrize("k", [10, 100])
def test_hnsw_finds_the_true_neighbours(large: tuple[FaissIndex, FaissIndex, Float32Array], k: int) -> None:
    hnsw, flat, queries = large
    assert recall(hnsw.search(queries, k).rows, flat.search(queries, k).rows) >= 0.95


@pytest.mark.parametrize("share", [0.9, 0.1, 0.01])
@pytest.mark.parametrize("scan_up_to", [0, 20_000])
def test_hnsw_finds_the_allowed_ones_however_rare(
    large: tuple[FaissIndex, FaissIndex, Float32Array],
    share: float,
    scan_up_to: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faiss_index, "SCAN_ALLOWED_UP_TO", scan_up_to)
    hnsw, flat, queries = large
    allowed = np.flatnonzero(np.random.default_rng(2).random(25_000) < share)
    found = hnsw.search(queries[:50], 20, allowed).rows
    assert bool(np.isin(found, allowed).all())
    assert recall(found, flat.search(queries[:50], 20, allowed).rows) >= 0.95


def test_all_rows_can_be_asked_for(large: tuple[FaissIndex, FaissIndex, Float32Array]) -> None:
    found = large[0].search(large[2][:1], 26_000).rows[0]
    assert sorted(found[:25_000].tolist()) == list(range(25_000))
    assert bool((found[25_000:] == -1).all())


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_survives_saving(tmp_path: Path, kind: faiss_index.Kind) -> None:
    vectors = clustered(300, 16, 5)
    built: VectorIndex = FaissIndex.build(vectors, kind)
    built.save(tmp_path / "index.faiss")
    opened = FaissIndex.open(tmp_path / "index.faiss")
    assert (opened.kind, opened.size, opened.dim) == (kind, 300, 16)
    np.testing.assert_array_equal(opened.vectors, vectors)
    allowed = np.arange(0, 300, 3)
    for filtered in (None, allowed):
        before, after = built.search(vectors, 5, filtered), opened.search(vectors, 5, filtered)
        np.testing.assert_array_equal(before.rows, after.rows)
        np.testing.assert_array_equal(before.scores, after.scores)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Links depend on the order in which threads add vectors."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_apart_from_its_vectors_is_small_and_answers_the_same(
    tmp_path: Path, kind: faiss_index.Kind
) -> None:
    vectors = clustered(2000, 64, 5)
    whole, apart = FaissIndex.build(vectors, kind), FaissIndex.build(vectors, kind, apart=True)
    whole.save(tmp_path / "whole")
    apart.save(tmp_path / "apart")
    sizes = [(tmp_path / name).stat().st_size for name in ("whole", "apart")]
    assert sizes[0] - sizes[1] == pytest.approx(vectors.nbytes, abs=100)  # and what FAISS says of them
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    opened = FaissIndex.open(tmp_path / "apart", vectors=mapped)
    assert np.shares_memory(opened.vectors, mapped)
    for filtered in (None, np.arange(0, 2000, 3)):
        wanted = whole.search(vectors[:50], 5, filtered)
        for found in (apart.search(vectors[:50], 5, filtered), opened.search(vectors[:50], 5, filtered)):
            np.testing.assert_array_equal(found.rows, wanted.rows)
            np.testing.assert_array_equal(found.scores, wanted.scores)


def test_an_index_that_has_its_vectors_is_opened_as_before_where_others_would_be_given(
    tmp_path: Path,
) -> None:
    vectors = clustered(300, 16, 5)
    for kind in ("flat", "hnsw"):
        FaissIndex.build(vectors, "flat" if kind == "flat" else "hnsw").save(tmp_path / kind)
        opened = FaissIndex.open(tmp_path / kind, vectors=np.zeros_like(vectors))
        np.testing.assert_array_equal(opened.vectors, vectors)


def test_an_index_apart_from_its_vectors_refuses_others(tmp_path: Path) -> None:
    vectors = clustered(300, 16, 5)
    FaissIndex.build(vectors, "hnsw", apart=True).save(tmp_path / "hnsw")
    FaissIndex.build(vectors, "flat", apart=True).save(tmp_path / "flat")
    for name, others in (("hnsw", vectors[:299]), ("hnsw", vectors[:, :8]), ("flat", vectors[:, :8])):
        with pytest.raises(CorruptFile, match=f"{name} is over"):
            FaissIndex.open(tmp_path / name, vectors=np.ascontiguousarray(others))
    with pytest.raises(CorruptFile, match="hnsw is over 300 vectors of 16 numbers, not over 0 of 16"):
        FaissIndex.open(tmp_path / "hnsw")


@pytest.mark.parametrize("apart", [False, True])
def test_an_index_that_has_grown_finds_what_was_there_what_moved_and_what_is_new(
    tmp_path: Path, apart: bool
) -> None:
    vectors = clustered(3000, 32, 20)
    FaissIndex.build(vectors[:2900], "hnsw", apart=apart).save(tmp_path / "index")
    moved = vectors.copy()
    moved[:100] = clustered(100, 32, 7)
    grown = FaissIndex.grown(tmp_path / "index", moved, "hnsw", apart=apart)
    true = FaissIndex.build(moved, "flat").search(moved[::10], 10)
    assert recall(grown.search(moved[::10], 10).rows, true.rows) >= 0.95
    assert recall(grown.search(moved[2900:], 1).rows, np.arange(2900, 3000)[:, None]) == 1.0


def test_an_index_is_searched_as_wide_as_a_sample_needs_and_no_wider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    easy = clustered(3000, 32, 20)
    hard = unit(np.random.default_rng(3).standard_normal((8000, 128)))  # nothing is near anything
    monkeypatch.setattr(faiss_index, "_EFFORTS", (40, 80, 160, 320, 2000))
    found = [FaissIndex.build(vectors, "hnsw").effort for vectors in (easy, hard)]
    assert found[0] == 40
    assert found[1] > 40
    given = FaissIndex.build(easy, "hnsw", effort=77)
    given.save(tmp_path / "index")
    assert FaissIndex.open(tmp_path / "index").effort == given.effort == 77
    assert FaissIndex.build(easy, "flat").effort == 0
    asked = FaissIndex.build(easy, "hnsw", questions=-easy[:50])
    assert asked.effort > found[0]


@pytest.mark.usefixtures("one_thread")
def test_an_index_that_has_grown_is_searched_as_wide_as_its_questions_need_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clustered(3000, 32, 20)
    far = -vectors[:50]
    monkeypatch.setattr(faiss_index, "_EFFORTS", (40, 80, 160, 320, 2000))
    FaissIndex.build(vectors[:2900], "hnsw").save(tmp_path / "narrow")
    assert FaissIndex.open(tmp_path / "narrow").effort == 40
    asked = FaissIndex.build(vectors, "hnsw", questions=far).effort
    assert asked > 40
    assert FaissIndex.grown(tmp_path / "narrow", vectors, "hnsw", questions=far).effort == asked
    FaissIndex.build(vectors[:2900], "hnsw", effort=320).save(tmp_path / "wide")
    assert FaissIndex.grown(tmp_path / "wide", vectors, "hnsw").effort == 40
    assert FaissIndex.grown(tmp_path / "wide", vectors, "hnsw", effort=77).effort == 77


def hits(found: list[Int64Array], true: Int64Array) -> float:
    """The share of the true rows [n, k] among those found for each."""
    return float(
        np.mean(
            [
                len({*some.tolist()} & {*best.tolist()}) / len(best)
                for some, best in zip(found, true, strict=True)
            ]
        )
    )


def test_a_walk_that_begins_near_its_end_looks_at_less_and_finds_as_much() -> None:
    vectors = clustered(4000, 32, 40)
    index = FaissIndex.build(vectors, "hnsw", effort=384)
    true = FaissIndex.build(vectors, "flat").search(vectors[:100], 10).rows
    looked_at = []
    for begins in (False, True):
        faiss.cvar.hnsw_stats.reset()
        found = [index.nearest(vectors[row], 10, near=row if begins else None) for row in range(100)]
        looked_at.append(faiss.cvar.hnsw_stats.ndis)
        assert hits(found, true) >= 0.99
        assert all(row in rows and len(set(rows.tolist())) == len(rows) for row, rows in enumerate(found))
    assert looked_at[1] < 0.5 * looked_at[0]


@pytest.mark.parametrize("k", [1, 10, 60, 150, 4000])
@pytest.mark.parametrize("share", [1.0, 0.9, 0.3, 0.001])
def test_wherever_a_walk_begins_only_allowed_rows_are_found_and_enough_of_them(
    k: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_index, "SCAN_ALLOWED_UP_TO", 8)  # or so few would be compared one by one
    vectors = clustered(4000, 32, 40)
    index = FaissIndex.build(vectors, "hnsw", effort=384)
    allowed = np.flatnonzero(np.random.default_rng(1).random(4000) < share).astype(np.int64)
    exact = FaissIndex.build(vectors, "flat")
    for near in (0, 17, 3999):
        found = index.nearest(vectors[near], k, None if share == 1.0 else allowed, near=near)
        true = exact.search(vectors[near][None], min(k, len(allowed)), allowed).rows
        assert set(found.tolist()) <= set(allowed.tolist())
        assert len(set(found.tolist())) == len(found) >= min(k, len(allowed))
        assert hits([found], true) >= 0.95


def test_a_filter_is_walked_from_near_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "SCAN_ALLOWED_UP_TO", 8)
    vectors = clustered(4000, 32, 40)
    index = FaissIndex.build(vectors, "hnsw", effort=384)
    allowed = np.flatnonzero(np.random.default_rng(1).random(4000) < 0.5).astype(np.int64)
    true = FaissIndex.build(vectors, "flat").search(vectors[:100], 10, allowed).rows
    found = [index.nearest(vectors[row], 10, allowed, near=row) for row in range(100)]
    assert hits(found, true) >= 0.98
    assert all(set(rows.tolist()) <= set(allowed.tolist()) for rows in found)


def test_linking_in_parts_finds_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = clustered(4200, 32, 40)
    vectors, queries = everything[:4000], everything[4000:]
    monkeypatch.setattr(faiss_storage, "_BYTES_AT_ONCE", 300 * vectors[0].nbytes)
    found = FaissIndex.build(vectors, "hnsw").search(queries, 10)
    assert recall(found.rows, FaissIndex.build(vectors, "flat").search(queries, 10).rows) >= 0.98


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_empty_index_finds_nothing(tmp_path: Path, kind: faiss_index.Kind) -> None:
    FaissIndex.build(np.zeros((0, 4), np.float32), kind).save(tmp_path / "index.faiss")
    opened = FaissIndex.open(tmp_path / "index.faiss", kind)
    assert opened.search(np.ones((2, 4), np.float32), 3).rows.tolist() == [[-1] * 3] * 2
    assert opened.search(np.ones((0, 4), np.float32), 3).rows.shape == (0, 3)


def test_one_vector_is_found_and_no_allowed_row_finds_nothing() -> None:
    index = FaissIndex.build(np.ones((1, 4), np.float32))
    query = np.ones((1, 4), np.float32)
    assert index.search(query, 3).rows.tolist() == [[0, -1, -1]]
    assert index.search(query, 3, np.zeros(0, np.int64)).rows.tolist() == [[-1, -1, -1]]


def test_bad_vectors_and_queries_are_refused() -> None:
    bad = clustered(10, 4, 2)
    index = FaissIndex.build(bad)
    bad[7, 1] = np.nan
    with pytest.raises(BadInput, match="Vector 7 holds a number that is not finite"):
        FaissIndex.build(bad)
    with pytest.raises(BadInput, match="Vector 7"):
        index.search(bad, 3)
    with pytest.raises(BadInput, match=r"shape \[2, 5\] where \[n, 4\]"):
        index.search(np.zeros((2, 5), np.float32), 3)
    with pytest.raises(ValueError, match="allowed rows"):
        index.search(bad[:1], 3, np.array([10]))
    with pytest.raises(ValueError, match="k must be"):
        index.search(bad[:1], 0)


def test_a_cut_missing_or_wrong_index_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    with pytest.raises(CorruptFile, match=r"index\.faiss is missing"):
        FaissIndex.open(path)
    FaissIndex.build(clustered(100, 8, 2), "hnsw").save(path)
    with pytest.raises(CorruptFile, match=r"index\.faiss is not a flat index"):
        FaissIndex.open(path, "flat")
    data = path.read_bytes()
    for size in (0, 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptFile, match=r"index\.faiss cannot be read"):
            FaissIndex.open(path)


def test_a_full_disk_is_reported_when_an_index_is_saved(tmp_path: Path) -> None:
    (tmp_path / "index.faiss").symlink_to("/dev/full")
    with pytest.raises(Unwritable, match=r"index\.faiss: the disk is full"):
        FaissIndex.build(clustered(10, 8, 2)).save(tmp_path / "index.faiss")
