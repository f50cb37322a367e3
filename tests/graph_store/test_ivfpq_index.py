"""The compressed index: what it finds, what it keeps in memory, and what it does with strange data."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_store import index_choice, ivfpq_index
from graph_store.array_files import load_array, save_array
from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import CorruptFile, Unwritable
from graph_store.faiss_index import FaissIndex
from graph_store.index_choice import index_bytes
from graph_store.ivfpq_codes import recoded
from graph_store.ivfpq_index import IvfPqIndex
from tests.graph_store.test_vector_index import clustered, recall, searches, unit

NUM, DIM = 12_000, 48


@pytest.fixture(scope="module")
def world() -> tuple[Float32Array, Float32Array]:
    everything = clustered(NUM + 200, DIM, 120)
    return everything[:NUM], everything[NUM:]


@pytest.fixture(scope="module")
def index(world: tuple[Float32Array, Float32Array]) -> IvfPqIndex:
    return IvfPqIndex.build(world[0])


def exactly(vectors: Float32Array, queries: Float32Array, k: int, allowed: Int64Array | None) -> Int64Array:
    return FaissIndex.build(vectors, "flat").search(queries, k, allowed).rows


@settings(deadline=None, max_examples=40)
@given(case=searches())
def test_whatever_is_asked_as_many_as_there_are_come_back_with_their_exact_scores(
    case: tuple[Float32Array, Float32Array, int, Int64Array | None],
) -> None:
    vectors, queries, k, allowed = case
    index = IvfPqIndex.build(vectors)
    rows_allowed = np.arange(len(vectors)) if allowed is None else np.unique(allowed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ivfpq_index, "LEAST_RANKED", 1)  # through the codes, on small data
        patch.setattr(ivfpq_index, "RANKED", 1)
        patch.setattr(ivfpq_index, "_MOST_MORE", 0)
        patch.setattr(ivfpq_index, "SCAN_ALLOWED_UP_TO", 0)
        result = index.search(queries, k, allowed)
        near = [index.nearest(query, k, allowed) for query in queries]
    there = min(k, len(rows_allowed))
    for place, query in enumerate(queries):
        rows, scores = result.rows[place], result.scores[place]
        assert len(set(rows[:there].tolist())) == there and set(rows[there:].tolist()) <= {-1}
        assert set(rows[:there].tolist()) <= set(rows_allowed.tolist())
        np.testing.assert_allclose(scores[:there], vectors[rows[:there]] @ query, atol=1e-6)
        assert bool((np.diff(scores[:there]) <= 0).all()) and bool(np.isneginf(scores[there:]).all())
        assert there <= len(set(near[place].tolist())) == len(near[place])
        assert set(near[place].tolist()) <= set(rows_allowed.tolist())


@pytest.mark.parametrize("k", [1, 20, 200, 3_000])
def test_the_true_neighbours_are_found(
    world: tuple[Float32Array, Float32Array], index: IvfPqIndex, k: int
) -> None:
    vectors, queries = world
    found = index.search(queries[:50], k).rows
    assert recall(found, exactly(vectors, queries[:50], k, None)) >= 0.98


@pytest.mark.parametrize("share", [0.9, 0.3, 0.05])
def test_the_allowed_ones_are_found_however_rare(
    world: tuple[Float32Array, Float32Array],
    index: IvfPqIndex,
    share: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ivfpq_index, "SCAN_ALLOWED_UP_TO", 0)
    vectors, queries = world
    allowed = np.flatnonzero(np.random.default_rng(2).random(NUM) < share)
    found = index.search(queries[:50], 20, allowed).rows
    assert bool(np.isin(found, allowed).all())
    assert recall(found, exactly(vectors, queries[:50], 20, allowed)) >= 0.98


def test_a_filter_that_leaves_only_far_ones_still_finds_as_many_as_are_wanted(
    world: tuple[Float32Array, Float32Array], index: IvfPqIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ivfpq_index, "SCAN_ALLOWED_UP_TO", 0)
    vectors, queries = world
    far = np.sort(np.argsort(vectors @ queries[0])[:600])
    found = index.search(queries[:1], 20, far)
    assert set(found.rows[0].tolist()) <= set(far.tolist())
    assert bool(np.isfinite(found.scores).all())


def test_what_lies_between_two_clusters_is_found_too(
    world: tuple[Float32Array, Float32Array], index: IvfPqIndex
) -> None:
    vectors, queries = world
    between = unit(queries[:100] + queries[100:])
    assert recall(index.search(between, 20).rows, exactly(vectors, between, 20, None)) >= 0.98


def test_in_memory_it_is_as_small_as_the_choice_reckons(
    world: tuple[Float32Array, Float32Array], index: IvfPqIndex, tmp_path: Path
) -> None:
    index.save(tmp_path / "index.faiss")
    size = (tmp_path / "index.faiss").stat().st_size
    assert size == pytest.approx(index_bytes("ivfpq", NUM, DIM), rel=0.15)
    assert size < world[0].nbytes / 2


def test_the_same_vectors_make_the_same_file(tmp_path: Path) -> None:
    vectors = clustered(3000, 24, 20)
    files = []
    for name in ("one", "two"):
        IvfPqIndex.build(vectors).save(tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_the_vectors_are_ranked_out_of_their_file(
    world: tuple[Float32Array, Float32Array], index: IvfPqIndex, tmp_path: Path
) -> None:
    vectors, queries = world
    save_array(tmp_path / "embeddings.npy", vectors)
    index.save(tmp_path / "index.faiss")
    mapped = load_array(tmp_path / "embeddings.npy")
    again = IvfPqIndex.open(tmp_path / "index.faiss", mapped)
    assert np.shares_memory(again._vectors, mapped)
    before, after = index.search(queries, 20), again.search(queries, 20)
    np.testing.assert_array_equal(before.rows, after.rows)
    np.testing.assert_array_equal(before.scores, after.scores)


def test_a_grown_index_keeps_what_it_learnt_and_finds_old_and_new(
    world: tuple[Float32Array, Float32Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, queries = world
    IvfPqIndex.build(vectors[:11_000]).save(tmp_path / "index.faiss")
    monkeypatch.setattr(IvfPqIndex, "build", None)  # nothing is learnt anew
    moved = unit(vectors + np.float32(0.01) * clustered(NUM, DIM, 5))
    grown = IvfPqIndex.grown(tmp_path / "index.faiss", moved)
    assert grown.size == NUM
    assert recall(grown.search(queries, 20).rows, exactly(moved, queries, 20, None)) >= 0.98


@settings(deadline=None, max_examples=25)
@given(dim=st.sampled_from([4, 9, 14, 33]), drawn=st.integers(0, 2**32), new=st.integers(0, 200))
def test_codes_are_kept_for_whatever_rows_stay_wherever_they_are_now(dim: int, drawn: int, new: int) -> None:
    rng = np.random.default_rng(drawn)
    old = clustered(900, dim, 12)
    stay = np.flatnonzero(rng.random(900) < rng.random())
    row_of = np.full(len(stay) + new, -1, np.int64)
    row_of[np.sort(rng.choice(len(row_of), len(stay), replace=False))] = stay
    now = np.where(row_of[:, None] >= 0, old[row_of], clustered(len(row_of), dim, 12)[::-1])
    coded: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        IvfPqIndex.build(old).save(Path(folder) / "index")
        learnt = ivfpq_index._read(Path(folder) / "index", mapped=False)

    def padded_rows(rows: Int64Array) -> Float32Array:
        coded.extend(rows.tolist())
        return ivfpq_index._with_zeros(now[rows], learnt.d)

    kept = recoded(learnt, row_of, padded_rows)
    assert coded == np.flatnonzero(row_of < 0).tolist()
    learnt.reset()
    learnt.add(ivfpq_index._with_zeros(now, learnt.d))
    for index in (kept, learnt):
        index.nprobe = index.nlist
    queries = ivfpq_index._with_zeros(now[:20], learnt.d)
    if len(now):
        ours, theirs = kept.search(queries, 10)[0], learnt.search(queries, 10)[0]
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_an_index_of_a_tenth_or_of_another_length_is_built_anew(tmp_path: Path) -> None:
    vectors = clustered(3000, 24, 20)
    for other in (vectors[:300], clustered(3000, 16, 20)):
        IvfPqIndex.build(other).save(tmp_path / "index.faiss")
        grown = IvfPqIndex.grown(tmp_path / "index.faiss", vectors)
        IvfPqIndex.build(vectors).save(tmp_path / "anew")
        grown.save(tmp_path / "grown")
        assert (tmp_path / "grown").read_bytes() == (tmp_path / "anew").read_bytes()


def test_an_index_that_no_longer_finds_enough_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clustered(3000, 24, 20)
    IvfPqIndex.build(vectors).save(tmp_path / "index.faiss")
    monkeypatch.setattr(IvfPqIndex, "_finds_enough", lambda *_: False)
    anew = IvfPqIndex.build(vectors)
    monkeypatch.setattr(IvfPqIndex, "build", lambda *_: anew)
    assert IvfPqIndex.grown(tmp_path / "index.faiss", vectors) is anew


def test_as_many_lists_are_read_as_the_given_questions_need_and_as_are_read_quickly(
    world: tuple[Float32Array, Float32Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, _ = world
    few = IvfPqIndex.build(vectors).lists_read
    half = vectors[:100].copy()
    half[:, : DIM // 2] = 0.0  # what is asked for lies in many lists
    wide = IvfPqIndex.build(vectors, half)
    assert few < wide.lists_read < wide.lists
    same = IvfPqIndex.build(vectors, vectors[:100])
    assert same.lists_read == few
    monkeypatch.setattr(index_choice, "MOST_CODES_READ", (few + 1) * NUM // wide.lists)
    assert few <= IvfPqIndex.build(vectors, half).lists_read <= few + 1


def test_vectors_of_one_kind_only_can_be_indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivfpq_index, "LEAST_RANKED", 20)
    same = np.repeat(clustered(1, 9, 1), 900, axis=0)
    found = IvfPqIndex.build(same).search(same[:1], 20)
    assert len(set(found.rows[0].tolist())) == 20 and bool((found.rows >= 0).all())


def test_a_cut_missing_or_wrong_file_is_refused_by_name(tmp_path: Path) -> None:
    vectors, path = clustered(500, 8, 2), tmp_path / "index.faiss"
    with pytest.raises(CorruptFile, match=r"index\.faiss is missing"):
        IvfPqIndex.open(path, vectors)
    FaissIndex.build(vectors, "hnsw").save(path)
    with pytest.raises(CorruptFile, match=r"index\.faiss is not an ivfpq index"):
        IvfPqIndex.open(path, vectors)
    IvfPqIndex.build(vectors).save(path)
    with pytest.raises(CorruptFile, match=r"index\.faiss is not a flat or hnsw index"):
        FaissIndex.open(path)
    for others in (vectors[:-1], clustered(500, 12, 2)):
        with pytest.raises(CorruptFile, match=r"holds 500 vectors of 8 numbers, not"):
            IvfPqIndex.open(path, others)
    data = path.read_bytes()
    for size in (0, 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(CorruptFile, match=r"index\.faiss cannot be read"):
            IvfPqIndex.open(path, vectors)


def test_a_full_disk_is_reported_when_it_is_saved(tmp_path: Path) -> None:
    (tmp_path / "index.faiss").symlink_to("/dev/full")
    with pytest.raises(Unwritable, match=r"index\.faiss: the disk is full"):
        IvfPqIndex.build(clustered(50, 8, 2)).save(tmp_path / "index.faiss")


@pytest.mark.parametrize("changed", [[], [3, 5_000, 10_999, 11_500]])
def test_only_new_vectors_are_coded_where_none_has_changed(
    world: tuple[Float32Array, Float32Array],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: list[int],
) -> None:
    vectors, queries = world
    IvfPqIndex.build(vectors[:11_000]).save(tmp_path / "index.faiss")
    moved = vectors.copy()
    moved[changed] = moved[changed][::-1]
    coded: list[int] = []
    known = ivfpq_index._with_zeros

    def noting(rows: Float32Array, dim: int) -> Float32Array:
        coded.append(len(rows))
        return known(rows, dim)

    with monkeypatch.context() as patch:
        patch.setattr(IvfPqIndex, "build", None)
        patch.setattr(IvfPqIndex, "_lists_that_hold", lambda *_: 40)
        patch.setattr(IvfPqIndex, "_finds_enough", lambda *_: True)
        patch.setattr(ivfpq_index, "_with_zeros", noting)
        row_of = np.where(np.arange(NUM) < 11_000, np.arange(NUM), -1)
        row_of[changed] = -1
        grown = IvfPqIndex.grown(tmp_path / "index.faiss", moved, row_of=row_of if changed else None)
    assert coded == [int((row_of < 0).sum())]
    assert grown.size == NUM
    assert recall(grown.search(queries, 20).rows, exactly(moved, queries, 20, None)) >= 0.98
    for row in changed:
        assert grown.search(moved[row][None], 1).rows[0, 0] == row


def test_an_index_is_quick_where_a_search_reads_few_codes(
    index: IvfPqIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = index.lists_read * NUM / index.lists
    assert 0 < index.lists_read <= index.lists
    monkeypatch.setattr(index_choice, "MOST_CODES_READ", read + 1)
    assert index.is_quick
    monkeypatch.setattr(index_choice, "MOST_CODES_READ", read - 1)
    assert not index.is_quick
