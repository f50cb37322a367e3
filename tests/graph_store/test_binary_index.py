"""Hamming search: exact where it scans, filtered inside, and refused when its file is broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from graph_store.arrays import Int64Array
from graph_store.binary_index import BinaryIndex, BinaryKind, Codes
from graph_store.errors import BadInput, CorruptFile, Unwritable


def drawn_codes(num: int, seed: int = 0, width: int = 8) -> Codes:
    return np.random.default_rng(seed).integers(0, 256, (num, width)).astype(np.uint8)


def by_counting(codes: Codes, code: Codes, k: int, allowed: Int64Array) -> list[int]:
    """The definition: bits that differ, equal ones by lower row."""
    differing = {int(row): int(np.unpackbits(codes[row] ^ code).sum()) for row in allowed}
    return sorted(differing, key=lambda row: (differing[row], row))[:k]


@st.composite
def searches(draw: st.DrawFn) -> tuple[Codes, Codes, int, Int64Array | None]:
    # Few different bytes, so that many distances are equal.
    num = draw(st.integers(0, 40))
    codes = draw(arrays(np.uint8, (num, 2), elements=st.sampled_from([0, 1, 3, 255])))
    allowed = draw(st.none() | st.sets(st.integers(0, num - 1))) if num else None
    rows = None if allowed is None else np.array(sorted(allowed), np.int64)
    return codes, draw(arrays(np.uint8, 2)), draw(st.integers(1, 50)), rows


@settings(deadline=None, max_examples=150)
@given(case=searches())
def test_a_scan_equals_counting_bits_ties_and_filter_included(
    case: tuple[Codes, Codes, int, Int64Array | None],
) -> None:
    codes, code, k, allowed = case
    found = BinaryIndex.build(codes, "flat").nearest(code, k, allowed)
    assert found.tolist() == by_counting(
        codes, code, k, np.arange(len(codes)) if allowed is None else allowed
    )


@settings(deadline=None, max_examples=60)
@given(
    num=st.integers(40, 400),
    missing=st.integers(1, 60),
    k=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_filter_that_leaves_few_out_gives_what_comparing_all_allowed_gives(
    num: int, missing: int, k: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.choice(np.array([0, 1, 3, 255], np.uint8), (num, 2))
    allowed = np.delete(np.arange(num), rng.choice(num, min(missing, num), replace=False))
    index, code = BinaryIndex.build(codes, "flat"), codes[0]
    order = np.argsort(index.distances(code, allowed), kind="stable")
    np.testing.assert_array_equal(index.nearest(code, k, allowed), allowed[order][:k])


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_a_filter_that_leaves_few_out_is_not_a_scan(
    kind: BinaryKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = drawn_codes(4000)
    index = BinaryIndex.build(codes, kind)
    allowed = np.delete(np.arange(4000), [7, 8, 9])
    wanted = allowed[np.argsort(index.distances(codes[7], allowed), kind="stable")[:20]]
    monkeypatch.setattr(BinaryIndex, "distances", lambda *args: pytest.fail("all codes were compared"))
    found = index.nearest(codes[7], 20, allowed)
    assert not {7, 8, 9} & set(found.tolist())
    if kind == "flat":
        assert found.tolist() == wanted.tolist()
    else:
        assert len(found) == 20
        assert len(set(found.tolist()) & set(wanted.tolist())) >= 15


def test_a_walk_that_meets_too_few_is_followed_by_a_scan() -> None:
    codes = drawn_codes(4000)
    index = BinaryIndex.build(codes, "hnsw")
    index._found = lambda code, count: np.zeros(1, np.int64)  # type: ignore[method-assign]
    allowed = np.arange(1, 4000)
    wanted = allowed[np.argsort(index.distances(codes[7], allowed), kind="stable")[:20]]
    assert index.nearest(codes[7], 20, allowed).tolist() == wanted.tolist()


def test_a_graph_of_links_finds_nearly_all_of_what_a_scan_finds() -> None:
    centres = drawn_codes(20)
    flipped = np.random.default_rng(1).random((2000, 64)) < 0.1
    codes = centres[np.arange(2000) % 20] ^ np.packbits(flipped, axis=1)
    flat, graph = BinaryIndex.build(codes, "flat"), BinaryIndex.build(codes, "hnsw")
    rows = np.arange(0, 2000, 50)
    shared = 0
    for row in rows:
        limit = flat.distances(codes[row], flat.nearest(codes[row], 10)).max()
        found = graph.nearest(codes[row], 10)
        shared += int((graph.distances(codes[row], found) <= limit).sum())
    assert graph.kind == "hnsw"
    assert shared >= 0.9 * 10 * len(rows)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_what_was_saved_is_what_is_opened(kind: str, tmp_path: Path) -> None:
    codes = drawn_codes(50)
    index = BinaryIndex.build(codes, "flat" if kind == "flat" else "hnsw")
    index.save(tmp_path / "codes.faiss")
    opened = BinaryIndex.open(tmp_path / "codes.faiss")
    assert (opened.kind, opened.size, opened.bits) == (kind, 50, 64)
    np.testing.assert_array_equal(opened.codes, codes)
    assert opened.nearest(codes[7], 5).tolist() == index.nearest(codes[7], 5).tolist()


def test_a_file_that_is_cut_short_missing_or_of_vectors_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "codes.faiss"
    with pytest.raises(CorruptFile, match=r"codes\.faiss is missing"):
        BinaryIndex.open(path)
    BinaryIndex.build(drawn_codes(50)).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFile, match=r"codes\.faiss cannot be read"):
        BinaryIndex.open(path)


def test_codes_of_another_length_or_type_are_refused() -> None:
    index = BinaryIndex.build(drawn_codes(5))
    with pytest.raises(BadInput, match="64"):
        index.nearest(np.zeros(4, np.uint8), 1)
    with pytest.raises(BadInput, match="float32"):
        BinaryIndex.build(np.zeros((3, 8), np.float32))  # type: ignore[arg-type]


def test_an_index_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unwritable):
        BinaryIndex.build(drawn_codes(5)).save(tmp_path / "missing" / "codes.faiss")
