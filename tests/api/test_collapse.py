"""Near copies are folded into the best of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from app.collapse import fold
from tests.api.conftest import problem, service_of
from tests.shapes import Shape

THRESHOLD = 0.9


def answer(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def cosines(client: TestClient, ids: list[str]) -> np.ndarray:
    engine = service_of(client).states.current.engine
    rows = [engine.row_of(image_id) for image_id in ids]
    features = np.stack([engine.image_features(row) for row in rows if row is not None])
    return features @ features.T


# -- the folding itself


def test_a_copy_goes_to_the_first_that_it_is_like() -> None:
    features = np.array([[1, 0], [0, 1], [1, 0.01], [0.01, 1], [1, 1]], dtype=np.float32)
    assert fold(features, 0.95) == {0: [2], 1: [3], 4: []}


def test_only_equal_features_are_copies_at_a_threshold_of_one() -> None:
    features = np.array([[0.6, 0.8], [0.6, 0.8], [0.61, 0.79]], dtype=np.float32)
    assert fold(features, 1.0) == {0: [1], 2: []}


@given(
    count=st.integers(1, 25), most=st.integers(1, 25), threshold=st.floats(0.1, 1), seed=st.integers(0, 999)
)
def test_a_longer_list_begins_as_a_shorter_one(count: int, most: int, threshold: float, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    whole, part = fold(features, threshold), fold(features, threshold, most)
    assert list(part) == list(whole)[:most]
    assert all(set(copies) <= set(whole[leader]) for leader, copies in part.items())
    assert sorted([*whole, *(place for copies in whole.values() for place in copies)]) == list(range(count))


# -- in a search


def test_no_two_results_are_near_copies_and_each_copy_is_under_its_own(
    client: TestClient, indexed: list[Shape]
) -> None:
    hits = answer(client, image={"id": indexed[0].id}, limit=15, collapse=THRESHOLD)["hits"]
    among = cosines(client, [hit["id"] for hit in hits])
    assert len(hits) == 15 and (among - 2 * np.eye(15)).max() < THRESHOLD
    folded = [hit for hit in hits if hit["near_copies"]]
    assert folded
    for hit in folded:
        assert cosines(client, [hit["id"], *hit["near_copies"]])[0].min() >= THRESHOLD - 1e-4


def test_what_is_left_is_in_the_order_of_the_whole_list(client: TestClient, indexed: list[Shape]) -> None:
    asked: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 1000}
    whole = [hit["id"] for hit in answer(client, **asked)["hits"]]
    hits = answer(client, **asked, collapse=THRESHOLD)["hits"]
    kept = [hit["id"] for hit in hits]
    assert kept == [image_id for image_id in whole if image_id in set(kept)]
    assert sorted(kept + [copy for hit in hits for copy in hit["near_copies"]]) == sorted(whole)


@pytest.mark.parametrize("diversity", [0.0, 0.5])
@pytest.mark.parametrize("limit", [1, 7])
def test_pages_are_the_folded_list_cut_in_pieces(
    client: TestClient, indexed: list[Shape], diversity: float, limit: int
) -> None:
    asked: dict[str, Any] = {
        "image": {"id": indexed[5].id},
        "collapse": THRESHOLD,
        "diversity": diversity,
        "limit": limit,
    }
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = answer(client, **asked, **cursor)
        found += [hit["id"] for hit in page["hits"]]
        if page["next_cursor"] is None:
            break
        assert len(page["hits"]) == limit
        cursor = {"cursor": page["next_cursor"]}
    whole = answer(client, **{**asked, "limit": 1000})
    assert found == [hit["id"] for hit in whole["hits"]]


def test_without_it_hits_say_nothing_of_copies(client: TestClient, indexed: list[Shape]) -> None:
    assert "near_copies" not in answer(client, image={"id": indexed[0].id})["hits"][0]


@pytest.mark.parametrize("collapse", [0, -0.5, 1.01, "much", None])
def test_a_threshold_that_is_none_is_refused(client: TestClient, collapse: Any) -> None:
    problem(client.post("/v1/search", json={"tags": ["red"], "collapse": collapse}), 422, "invalid-request")
