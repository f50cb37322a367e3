from typing import Any

import numpy as np
import pytest

from graph_store import related
from graph_store.csr import Csr
from graph_store.related import cooccurrence_edges, related_edges


def tags_of(*images: tuple[int, ...]) -> Csr:
    rows = [i for i, tags in enumerate(images) for _ in tags]
    return Csr.from_edges(rows, [tag for tags in images for tag in tags], np.ones(len(rows)), len(images))


def test_tags_that_are_always_together_have_npmi_one() -> None:
    edges = cooccurrence_edges(tags_of((0, 1), (0, 1), (2,), (2,)), 3, 1)
    assert edges.row(0)[0].tolist() == [1]
    assert edges.row(1)[0].tolist() == [0]
    np.testing.assert_allclose(edges.weights, 1.0, atol=1e-6)


def test_npmi_follows_its_formula() -> None:
    # p(0) = 3/5, p(1) = 2/5, p(0, 1) = 2/5
    edges = cooccurrence_edges(tags_of((0, 1), (0, 1), (0,), (), ()), 2, 2)
    np.testing.assert_allclose(edges.row(0)[1], [np.log(0.4 / (0.6 * 0.4)) / -np.log(0.4)], rtol=1e-6)
    assert cooccurrence_edges(tags_of((0, 1), (0, 1), (0,), (), ()), 2, 3).num_edges == 0


def test_a_tag_on_every_image_and_parallel_edges_are_harmless() -> None:
    assert cooccurrence_edges(tags_of((0, 1, 1, 0), (0, 1), (0,)), 2, 1).num_edges == 0
    assert cooccurrence_edges(tags_of((0, 1), (0, 1)), 2, 1).num_edges == 0


@pytest.mark.parametrize("at_once", [1, 40, 1000])
def test_pairs_that_are_looked_at_in_parts_are_the_same(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    images = tags_of(*(tuple(rng.choice(25, 4, replace=False)) for _ in range(80)))
    whole = cooccurrence_edges(images, 30, 2)
    looked_at: list[int] = []
    coo = related.sparse.csr_matrix.tocoo

    def noting(matrix: Any, *rest: Any) -> Any:
        looked_at.append(matrix.nnz)
        return coo(matrix, *rest)

    monkeypatch.setattr(related, "_AT_ONCE", at_once)
    monkeypatch.setattr(related.sparse.csr_matrix, "tocoo", noting)
    assert cooccurrence_edges(images, 30, 2).equals(whole)
    assert whole.num_edges > 20
    assert max(looked_at) <= max(at_once + 25, 25)


def test_the_larger_of_text_and_cooccurrence_counts() -> None:
    features = np.array([[1, 0], [0.8, 0.6], [0, 1], [0, 1]], np.float32)
    edges = related_edges(features, tags_of((0, 1), (0, 1), (2,), (3,)), 5, 0.7, 2)
    assert edges.row(0)[0].tolist() == [1]  # cosine 0.8, NPMI 1
    np.testing.assert_allclose(edges.row(0)[1], [1.0], atol=1e-6)
    assert edges.row(2)[0].tolist() == [3]  # cosine 1, never together
    np.testing.assert_allclose(edges.row(2)[1], [1.0], atol=1e-6)


def test_a_text_cosine_below_its_threshold_does_not_lift_a_pair() -> None:
    features = np.array([[1, 0], [0.8, 0.6]], np.float32)
    images = tags_of((0, 1), (0, 1), (0,), (1,), (), ())
    npmi = np.log((2 / 6) / (3 / 6) ** 2) / -np.log(2 / 6)
    np.testing.assert_allclose(related_edges(features, images, 5, 0.9, 1).row(0)[1], [npmi], rtol=1e-5)
    np.testing.assert_allclose(related_edges(features, images, 5, 0.7, 1).row(0)[1], [0.8], rtol=1e-5)


def test_at_most_k_heaviest_are_kept_with_ties_by_index() -> None:
    features = np.repeat(np.array([[1, 0]], np.float32), 6, axis=0)
    edges = related_edges(features, Csr.empty(4), 2, 0.5, 1)
    assert [edges.row(i)[0].tolist() for i in range(3)] == [[1, 2], [0, 2], [0, 1]]


@pytest.mark.parametrize("num_tags", [0, 1])
def test_no_tags_and_no_images_are_fine(num_tags: int) -> None:
    edges = related_edges(np.ones((num_tags, 3), np.float32), Csr.empty(0), 5, 0.5, 1)
    assert (edges.num_rows, edges.num_edges) == (num_tags, 0)
