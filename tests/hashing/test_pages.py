"""A list out of an approximate index, read page by page: a greater depth may find better ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from gnn.reindex import reindex
from graph_store import faiss_index, index_choice
from graph_store.data_dir import DataDir
from tests.api.conftest import service_of, serving
from tests.chaos.test_live_machine import BASE_IDS, NUM, RERANKED, trained_world
from tests.copies import copy_of
from tests.gnn.worlds import TAGS


def read(client: TestClient, **body: Any) -> list[list[dict[str, Any]]]:
    """The hits of each page."""
    pages = []
    cursor: dict[str, str] = {}
    while True:
        response = client.post("/v1/search", json={**body, **cursor})
        assert response.status_code == 200, response.text
        answer = response.json()
        pages.append(answer["hits"])
        if answer["next_cursor"] is None:
            return pages
        cursor = {"cursor": answer["next_cursor"]}


def ids(pages: list[list[dict[str, Any]]]) -> list[str]:
    return [hit["id"] for page in pages for hit in page]


@pytest.fixture(scope="module")
def codes(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("codes") / "data"
    copy_of(trained_world(shared_dir, "hash"), folder)
    with serving(folder, snapshot_poll_seconds=3600) as client:
        yield client


@pytest.mark.parametrize("dial", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("limit", [3, 20, RERANKED, 100])
def test_all_pages_of_codes_together_show_every_picture_once(
    codes: TestClient, limit: int, dial: float
) -> None:
    for tag in TAGS[:4]:
        pages = read(codes, tags=[tag], limit=limit, visual_weight=dial)
        assert sorted(ids(pages)) == sorted(BASE_IDS)
        assert all(len(page) == limit for page in pages[:-1])


def test_each_page_of_codes_falls_from_its_best(codes: TestClient) -> None:
    for page in read(codes, tags=[TAGS[0]], limit=20):
        scores = [hit["score"] for hit in page]
        assert scores == sorted(scores, reverse=True)


def test_filtered_pages_of_codes_show_what_passes_once(codes: TestClient) -> None:
    only = {"must": [{"key": "colour", "match": "red"}]}
    pages = read(codes, tags=[TAGS[0]], limit=4, filter=only)
    whole = read(codes, tags=[TAGS[0]], limit=1000, filter=only)
    assert len(whole) == 1 and len(ids(whole)) > 40
    assert sorted(ids(pages)) == sorted(ids(whole))


def test_no_two_results_of_folded_pages_of_codes_are_near_copies(codes: TestClient) -> None:
    engine = service_of(codes).states.current.engine
    for tag in TAGS[:4]:
        shown = ids(read(codes, tags=[tag], limit=5, collapse=0.9))
        rows = [engine.row_of(name) for name in shown]
        features = np.stack([engine.image_features(row) for row in rows if row is not None])
        assert len(shown) == len(set(shown)) and len(shown) < NUM
        assert (features @ features.T - 2 * np.eye(len(shown))).max() < 0.9


def test_pictures_that_come_and_go_between_pages_of_codes_cost_no_other_its_place(
    shared_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    copy_of(trained_world(shared_dir, "hash"), folder)
    with serving(folder, snapshot_poll_seconds=3600) as client:
        body = {"tags": [TAGS[0]], "limit": 15}
        first = client.post("/v1/search", json=body).json()
        shown = [hit["id"] for hit in first["hits"]]
        gone = [name for name in BASE_IDS if name not in shown][:60]
        client.post("/v1/images/delete", json={"ids": gone})
        # Described anew, so that they are beside the snapshot now; they are no better than they were.
        for name in shown[:5]:
            assert client.patch(f"/v1/images/{name}", json={"attributes": {"area": 3}}).status_code == 200
        cursor = first["next_cursor"]
        while cursor is not None:
            answer = client.post("/v1/search", json={**body, "cursor": cursor}).json()
            shown += [hit["id"] for hit in answer["hits"]]
            cursor = answer["next_cursor"]
    assert sorted(set(shown[15:]) - set(shown[:5])) == sorted(set(BASE_IDS) - set(gone) - set(shown[:15]))
    assert len(shown) == len(set(shown))


def test_folded_pages_of_codes_go_on_when_a_picture_that_was_shown_is_gone(
    shared_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    copy_of(trained_world(shared_dir, "hash"), folder)
    with serving(folder, snapshot_poll_seconds=3600) as client:
        body = {"tags": [TAGS[0]], "limit": 5, "collapse": 0.9}
        best = client.post("/v1/search", json=body).json()["hits"][0]["id"]
        # Described anew it is beside the snapshot, and its row goes with it.
        assert client.patch(f"/v1/images/{best}", json={"attributes": {"area": 3}}).status_code == 200
        first = client.post("/v1/search", json=body).json()
        shown = [hit["id"] for hit in first["hits"]]
        assert best in shown
        client.post("/v1/images/delete", json={"ids": [best]})
        response = client.post("/v1/search", json={**body, "cursor": first["next_cursor"]})
    assert response.status_code == 200, response.text
    later = [hit["id"] for hit in response.json()["hits"]]
    assert len(later) == 5 and not set(later) & set(shown)


def test_all_pages_of_a_walk_through_links_show_every_picture_once(
    shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_choice, "FLAT_BELOW", 0)
    monkeypatch.setattr(faiss_index, "SCAN_ALLOWED_UP_TO", 8)
    folder = tmp_path / "hnsw"
    copy_of(trained_world(shared_dir, "default"), folder)
    reindex(DataDir(folder), full=True)
    with serving(folder, snapshot_poll_seconds=3600) as client:
        assert sorted(ids(read(client, tags=[TAGS[0]], limit=7))) == sorted(BASE_IDS)
