"""What grows with the catalogue or with a request is not done on the event loop."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from fastapi.testclient import TestClient

import app.search_service
import app.serving_state
from app.api.bodies import parse
from app.api.schemas import SearchOptions, SearchRequest
from app.asked import question_of
from app.live.state import LiveState
from app.tag_completion import TagCompletion
from graph_store.data_dir import DataDir
from graph_store.tag_names import normalise_tag
from tests.api.conftest import png, service_of, serving
from tests.shapes import Shape

T = TypeVar("T")

NEW = Shape("red", "circle", "large", 7, (0.52, 0.49), 0.36)


def noting(work: Callable[..., T], threads: list[str]) -> Callable[..., T]:
    """The same work, which notes in which threads it was done."""

    def noted(*given: Any) -> T:
        threads.append(threading.current_thread().name)
        return work(*given)

    return noted


def upserted(data: str) -> dict[str, Any]:
    return {"images": [{"id": "new", "image": {"data": data}, "tags": NEW.tags}]}


def test_after_a_write_the_words_of_questions_are_looked_up_where_they_were_before(
    built_copy: DataDir,
) -> None:
    with serving(built_copy.root) as client:
        assert client.post("/v1/images", json=upserted(base64.b64encode(png(NEW)).decode())).is_success
        state = service_of(client).states.current
        assert isinstance(state, LiveState)
        assert "tag_numbers" in vars(state.base), "they were numbered when the snapshot was opened"
        assert state.tag_numbers is state.base.tag_numbers


def test_tags_are_made_ready_for_completion_in_a_thread(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    monkeypatch.setattr(app.serving_state, "TagCompletion", noting(TagCompletion, threads))
    with serving(built_copy.root) as client:
        assert client.get("/v1/tags?prefix=re").json()["tags"]
        assert client.post("/v1/images", json=upserted(base64.b64encode(png(NEW)).decode())).is_success
        assert client.get("/v1/tags?prefix=re").json()["tags"]
    assert len(threads) == 2 and all(name.startswith("search") for name in threads)


@pytest.mark.parametrize(("large", "thread"), [(1, "search"), (10**9, "asyncio")])
def test_a_question_that_carries_much_is_gone_through_in_a_thread(
    built_data_dir: DataDir, monkeypatch: pytest.MonkeyPatch, large: int, thread: str
) -> None:
    threads: list[str] = []
    monkeypatch.setattr(app.search_service, "question_of", noting(question_of, threads))
    monkeypatch.setattr("app.asked.LONG_TEXT", large)
    body: dict[str, Any] = {"image": {"data": base64.b64encode(png(NEW)).decode()}, "limit": 1}
    with serving(built_data_dir.root) as client:
        first = client.post("/v1/search", json=body).json()
        again = client.post("/v1/search", json={**body, "cursor": first["next_cursor"]})
    assert again.status_code == 200
    assert threads and all(name.startswith(thread) for name in threads)


@pytest.mark.parametrize(
    ("more", "thread"),
    [({"limit": 2}, "asyncio"), ({"limit": 3}, "search"), ({"limit": 1, "explain": True}, "search")],
)
def test_many_results_and_what_explains_them_are_written_down_in_a_thread(
    client: TestClient, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch, more: Any, thread: str
) -> None:
    threads: list[str] = []
    for name in ("hits_of", "explain_hits", "explain_edges"):
        monkeypatch.setattr(app.search_service, name, noting(getattr(app.search_service, name), threads))
    monkeypatch.setattr(app.search_service, "_MANY_HITS", 2)
    answer = client.post("/v1/search", json={"image": {"id": indexed[0].id}, **more}).json()
    assert len(answer["hits"]) == more["limit"] and ("explain" in answer) == ("explain" in more)
    assert threads and all(name.startswith(thread) for name in threads)


@pytest.mark.parametrize(("number", "in_a_thread"), [(10, False), (10_000, True)])
def test_a_body_with_many_values_is_read_in_a_thread(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, number: int, in_a_thread: bool
) -> None:
    loops: list[bool] = []

    def noted(*given: Any) -> Any:
        loops.append(asyncio.events._get_running_loop() is not None)
        return parse(*given)

    monkeypatch.setattr("app.api.bodies.parse", noted)
    # Refused once it is read: no condition may have more than a thousand.
    body = {"tags": ["red"], "filter": {"must": [{"key": "year", "any": list(range(number))}]}}
    assert client.post("/v1/search", json=body).status_code in (200, 422)
    assert loops == [not in_a_thread]


def test_the_names_of_tags_in_a_filter_are_gone_through_in_a_thread(
    client: TestClient, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    for module in ("app.asked", "app.api.filter_schemas"):
        monkeypatch.setattr(f"{module}.normalise_tag", noting(normalise_tag, threads), raising=False)
    body = {"image": {"id": indexed[0].id}, "filter": {"must": [{"key": "tags", "any": ["red", "blue"]}]}}
    assert client.post("/v1/search", json=body).is_success
    assert len(threads) == 2 and all(name.startswith("search") for name in threads)


def test_originals_are_read_apart_from_searches(
    client: TestClient, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    catalogue = service_of(client).catalogue
    monkeypatch.setattr(catalogue, "original", noting(catalogue.original, threads))
    assert client.get(f"/v1/images/{indexed[0].id}/file").status_code == 200
    assert len(threads) == 1 and threads[0].startswith("read")


def asked(image: Any) -> str:
    return question_of(SearchRequest.model_validate({"image": image, "limit": 3}), None)


def test_questions_with_other_pictures_or_the_same_in_other_places_are_told_apart() -> None:
    images: list[Any] = [
        {"data": "AAAA"},
        {"data": "AAAB"},
        {"id": "AAAA"},
        [{"data": "AAAA"}],
        [{"data": "AAAA"}, {"id": "x"}],
        [{"id": "x"}, {"data": "AAAA"}],
        [{"data": "AAAA"}, {"data": "BBBB"}],
        [{"data": "BBBB"}, {"data": "AAAA"}],
        [{"data": "AAAABBBB"}],
    ]
    uploaded = question_of(SearchOptions(tags=[]), b"AAAA")
    assert len({uploaded, *map(asked, images)}) == len(images) + 1
