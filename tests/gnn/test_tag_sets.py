"""Sets of tags as vectors: inner products are likenesses, and a mean of tag vectors gives the set back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gnn.model import tag_sets
from gnn.model.carriers import asking_map
from gnn.model.tag_sets import (
    EXACT_UP_TO,
    KEPT,
    OWN_WIDTHS,
    JaccardView,
    distinct_sets,
    ideal_gains,
    indicator,
    indicator_rows,
    jaccard,
    jaccard_features,
    own_width,
    tag_basis,
)
from graph_store.csr import Csr

NUM_TAGS = 7
TAG_SETS = st.sets(st.integers(0, NUM_TAGS - 1), min_size=1)
CATALOGUES = st.lists(TAG_SETS, min_size=1, max_size=30)


def table_of(sets: list[set[int]]) -> np.ndarray:
    table = np.zeros((len(sets), NUM_TAGS), dtype=np.float32)
    for row, tags in enumerate(sets):
        table[row, list(tags)] = 1.0
    return table


def edges_of(sets: list[list[int]]) -> Csr:
    rows = np.repeat(np.arange(len(sets)), [len(tags) for tags in sets])
    return Csr.from_edges(rows, np.concatenate(sets), np.ones(len(rows)), len(sets))


def features_of(view: JaccardView, sets: np.ndarray) -> np.ndarray:
    made = jaccard_features(
        torch.from_numpy(sets), torch.from_numpy(view.landmarks), torch.from_numpy(view.projection)
    )
    return made.numpy()


@given(CATALOGUES)
def test_inner_products_at_full_rank_are_jaccard_similarities(catalogue: list[set[int]]) -> None:
    sets, counts = distinct_sets(table_of(catalogue))
    seen = features_of(JaccardView.fit(sets, counts, rank=len(sets)), sets)
    # Axes of less than a millionth of the spread are left out, hence the tolerance.
    assert_allclose(seen @ seen.T, jaccard(sets, sets), atol=5e-3)


@given(CATALOGUES, TAG_SETS)
def test_inner_products_with_an_unknown_set_are_never_far_above_one(
    catalogue: list[set[int]], asked: set[int]
) -> None:
    sets, counts = distinct_sets(table_of(catalogue))
    view = JaccardView.fit(sets, counts, rank=len(sets))
    length = np.linalg.norm(features_of(view, table_of([asked])))
    # The Nystroem extension is a projection, which shortens: |φ(T)|² ≤ J(T, T) = 1.
    assert length <= 1 + 1e-2


def test_a_low_rank_keeps_the_axes_that_matter_to_frequent_sets() -> None:
    sets = table_of([{0}, {1}, {2, 3}, {4, 5}])
    view = JaccardView.fit(sets, np.array([50, 40, 1, 1]), rank=2)
    lengths = np.linalg.norm(features_of(view, sets), axis=1)
    assert view.projection.shape == (4, 2)
    assert_allclose(lengths, [1, 1, 0, 0], atol=1e-3)


@given(TAG_SETS)
def test_a_set_comes_back_from_the_mean_of_its_tag_vectors(tags: set[int]) -> None:
    whole = torch.from_numpy(table_of([tags]))
    assert_allclose(indicator(whole / len(tags)), whole, atol=1e-6)


def test_an_image_without_tags_is_the_empty_set() -> None:
    assert not indicator(torch.zeros(2, NUM_TAGS)).any()


def test_unequal_weights_count_as_fewer_tags() -> None:
    heavy = indicator(torch.tensor([[0.9, 0.1, 0.0]]))
    assert 1 < float(heavy.sum()) < 2
    assert heavy[0, 0] > heavy[0, 1] > heavy[0, 2] == 0


@given(CATALOGUES, st.randoms(use_true_random=False))
def test_the_order_of_tags_and_of_images_does_not_matter(catalogue: list[set[int]], random: object) -> None:
    lists = [sorted(tags) for tags in catalogue]
    shuffled = [list(tags) for tags in lists]
    for tags in shuffled:
        random.shuffle(tags)  # type: ignore[attr-defined]
    rows = np.arange(len(lists), dtype=np.int64)
    first = indicator_rows(edges_of(lists), rows, NUM_TAGS)
    again = indicator_rows(edges_of(shuffled), rows[::-1].copy(), NUM_TAGS)[::-1]
    assert_array_equal(first, again)
    assert_array_equal(distinct_sets(first)[0], distinct_sets(again[::-1].copy())[0])


@given(CATALOGUES)
def test_distinct_sets_count_every_image_once(catalogue: list[set[int]]) -> None:
    table = table_of(catalogue)
    sets, counts = distinct_sets(table)
    assert counts.sum() == len(catalogue)
    for tags, count in zip(sets, counts, strict=True):
        assert (table == tags).all(axis=1).sum() == count


def test_rows_of_chosen_images_hold_their_own_tags() -> None:
    edges = edges_of([[0, 2], [1], [], [3]])
    assert_array_equal(
        indicator_rows(edges, np.array([3, 0, 2]), 4), [[0, 0, 0, 1], [1, 0, 1, 0], [0, 0, 0, 0]]
    )


def test_the_gain_to_expect_is_that_of_the_best_other_images() -> None:
    sets, counts = table_of([{0}, {0, 1}, {5}]), np.array([3, 1, 1])
    discounts = 1 / np.log2(np.arange(5) + 2)
    gains = ideal_gains(sets, counts)
    # Two more images with just tag 0 and one half alike; three half alike; none, which counts as 0.2.
    assert_allclose(gains[0], discounts[:2].sum() + 0.5 * discounts[2], rtol=1e-5)
    assert_allclose(gains[1], 0.5 * discounts[:3].sum(), rtol=1e-5)
    assert gains[2] == pytest.approx(0.2)


def test_of_many_sets_an_even_sample_tells_what_can_be_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.random((4000, 20)) < rng.random(20) * 0.3
    sets, counts = distinct_sets(np.concatenate([drawn, np.zeros((500, 20), bool)]).astype(np.float32))
    whole = ideal_gains(sets, counts)
    compared: list[int] = []

    def noting(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        compared.append(len(right))
        return jaccard(left, right)

    monkeypatch.setattr(tag_sets, "jaccard", noting)
    monkeypatch.setattr(tag_sets, "_COMPARED", 500)
    part = ideal_gains(sets, counts)
    assert max(compared) <= 500 < len(sets)
    assert (counts * part).sum() == pytest.approx((counts * whole).sum(), rel=0.1)
    copied = counts > 5
    assert copied.any()
    assert_allclose(part[copied], whole[copied])  # what has copies is told by these


def test_a_small_vocabulary_keeps_one_coordinate_a_tag() -> None:
    basis = tag_basis(edges_of([[0, 1], [2]]), 3, [2])
    assert basis.exact
    assert_array_equal(basis.vectors, np.eye(3))


def large_catalogue(num: int, num_tags: int = EXACT_UP_TO + 88) -> Csr:
    """Images of ten topics; the tags of one topic come together, and every hundredth tag is never used."""
    rng = np.random.default_rng(0)
    used = np.flatnonzero(np.arange(num_tags) % 100 != 99)
    topics = [used[used % 10 == topic] for topic in range(10)]
    return edges_of([rng.choice(topics[row % 10], 6, replace=False).tolist() for row in range(num)])


def unit(rows: np.ndarray) -> np.ndarray:
    made: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made


def test_a_large_vocabulary_is_compressed_so_that_companions_point_alike() -> None:
    num_tags = EXACT_UP_TO + 88
    basis = tag_basis(large_catalogue(800), num_tags, [48])
    assert not basis.exact
    assert basis.vectors.shape == (num_tags, basis.width) == (num_tags, 48 + OWN_WIDTHS[0])
    used = np.flatnonzero(np.arange(num_tags) % 100 != 99)
    shared = unit(basis.vectors[used, : basis.expected])
    likeness = shared @ shared.T
    same = (used[:, None] % 10) == (used[None, :] % 10)
    assert likeness[same].mean() > likeness[~same].mean() + 0.2


def scattered_catalogue(num: int, num_tags: int = EXACT_UP_TO + 88) -> Csr:
    """Images of three tags each, any of them with any other."""
    rng = np.random.default_rng(0)
    return edges_of([rng.choice(num_tags, 3, replace=False).tolist() for _ in range(num)])


def kept_of(tags_of_image: Csr, vectors: np.ndarray) -> float:
    """How much of the images' unit tag vectors is left of them in the coordinates of `vectors`."""
    sums = [vectors[tags_of_image.row(row)[0]].sum(axis=0) for row in range(tags_of_image.num_rows)]
    return float((np.array(sums) ** 2).sum() / tags_of_image.degrees().sum())


def test_a_vocabulary_gets_the_first_width_that_keeps_enough_of_it() -> None:
    tags_of_image = scattered_catalogue(900)
    widths = [64, 128, 256, 400, 500, 599]
    basis = tag_basis(tags_of_image, EXACT_UP_TO + 88, widths)
    assert basis.expected in widths[2:-1]
    narrower = tag_basis(tags_of_image, EXACT_UP_TO + 88, [widths[widths.index(basis.expected) - 1]])
    less, enough = (kept_of(tags_of_image, each.vectors[:, : each.expected]) for each in (narrower, basis))
    assert less < KEPT <= enough


def test_a_vocabulary_that_no_width_keeps_enough_of_gets_the_widest() -> None:
    assert tag_basis(scattered_catalogue(900), EXACT_UP_TO + 88, [16, 32]).expected == 32


def test_the_summary_is_the_best_of_its_width() -> None:
    tags_of_image, num_tags = large_catalogue(800), EXACT_UP_TO + 88
    table = np.zeros((800, num_tags))
    for row in range(800):
        table[row, tags_of_image.row(row)[0]] = 6**-0.5
    best = (np.linalg.svd(table, compute_uv=False)[:48] ** 2).sum() / 800
    vectors = tag_basis(tags_of_image, num_tags, [48]).vectors[:, :48]
    assert kept_of(tags_of_image, vectors) == pytest.approx(best, abs=2e-3)


def test_a_summary_is_the_same_where_too_many_tags_occur_together_to_hold_the_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tags_of_image, num_tags = large_catalogue(800), EXACT_UP_TO + 88
    by_pairs = tag_basis(tags_of_image, num_tags, [10])
    monkeypatch.setattr(tag_sets, "_times_pairs", None)
    monkeypatch.setattr(tag_sets, "_MOST_PAIRS", 1000)
    monkeypatch.setattr(tag_sets, "_IMAGES_AT_ONCE", 300)
    in_turn = tag_basis(tags_of_image, num_tags, [10])
    one, two = (basis.vectors @ basis.vectors.T for basis in (by_pairs, in_turn))
    assert_allclose(two, one, atol=1e-4)


def test_every_tag_of_a_large_vocabulary_speaks_as_loudly_as_any_other() -> None:
    vectors = tag_basis(large_catalogue(800), EXACT_UP_TO + 88, [48]).vectors
    assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-4)


def test_the_few_images_of_a_rare_tag_are_told_from_all_others_by_it() -> None:
    num, num_tags, rare = 2000, EXACT_UP_TO + 88, 99
    tags_of_image = large_catalogue(num)
    carriers = [17, 1203]
    rows = [[*tags_of_image.row(row)[0].tolist(), *([rare] if row in carriers else [])] for row in range(num)]
    vectors = tag_basis(edges_of(rows), num_tags, [48]).vectors
    likeness = unit(np.array([vectors[row].sum(axis=0) for row in rows])) @ vectors[rare]
    assert set(np.argsort(-likeness)[:2].tolist()) == set(carriers)


@pytest.mark.parametrize(("tags", "width"), [(1, 128), (6, 128), (7, 256), (12, 256), (19, 384), (60, 384)])
def test_the_more_tags_images_have_the_more_coordinates_has_each(tags: int, width: int) -> None:
    assert own_width(edges_of([list(range(tags)), [], list(range(tags))])) == width


def test_images_without_tags_do_not_make_a_tag_narrower() -> None:
    assert own_width(edges_of([list(range(19)), *[[]] * 50])) == 384


def test_a_rare_tag_leads_to_its_image_among_many_tags_of_each() -> None:
    num, common, rare = 2000, 1500, 40
    rng = np.random.default_rng(0)
    rows = [rng.choice(common, 20, replace=False).tolist() for _ in range(num)]
    carriers = rng.permutation(num)[:rare]
    for number, carrier in enumerate(carriers.tolist()):
        rows[carrier].append(common + number)
    vectors = tag_basis(edges_of(rows), common + rare, [256]).vectors
    views = unit(np.array([vectors[row].sum(axis=0) for row in rows])).astype(np.float32)
    directions = vectors[common:] @ asking_map(torch.from_numpy(views)).numpy()
    first = (views @ directions.T).argmax(axis=0)
    assert (first == carriers).mean() >= 0.95


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_size_of_a_compressed_set_comes_back_from_a_mean(size: int) -> None:
    num_tags = EXACT_UP_TO + 88
    basis = tag_basis(large_catalogue(200), num_tags, [32])
    sums, made = [], []
    for seed in range(30):
        tags = np.random.default_rng(seed).choice(num_tags, size, replace=False)
        vectors, sizes = (torch.from_numpy(table[tags]) for table in (basis.vectors, basis.sizes))
        sums.append(vectors.sum(dim=0).numpy())
        made.append(indicator(vectors.mean(dim=0, keepdim=True), sizes.mean(dim=0, keepdim=True))[0].numpy())
    # The size is estimated, so it is right on average and never far out.
    ratios = np.linalg.norm(made, axis=1) / np.linalg.norm(sums, axis=1)
    assert ratios.mean() == pytest.approx(1.0, abs=0.1)
    assert ratios.min() > 0.4 and ratios.max() < 2.5


def test_a_compressed_vocabulary_is_the_same_each_time() -> None:
    one, two = (tag_basis(large_catalogue(200), EXACT_UP_TO + 88, [32]) for _ in range(2))
    assert_array_equal(one.vectors, two.vectors)
    assert_array_equal(one.sizes, two.sizes)


@pytest.mark.parametrize("num", [1, 2, 5])
def test_a_few_images_with_more_tags_than_are_kept_apart_still_have_vectors(num: int) -> None:
    num_tags = EXACT_UP_TO + 1
    basis = tag_basis(edges_of([list(range(num_tags))] * num), num_tags, [max(num - 1, 1)])
    assert np.isfinite(basis.vectors).all() and np.isfinite(basis.sizes).all()
    assert (np.linalg.norm(basis.vectors, axis=1) > 0).all()
