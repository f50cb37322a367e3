"""`image` as a list with weights: like these two, not like that one."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.schemas import MAX_IMAGES
from tests.api.conftest import png, problem
from tests.shapes import Shape


def hits(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    response = client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["hits"]
    return found


def test_a_list_of_one_picture_asks_as_that_picture_alone(client: TestClient, indexed: list[Shape]) -> None:
    one = {"id": indexed[0].id}
    assert hits(client, image=[one]) == hits(client, image=[{**one, "weight": 3}]) == hits(client, image=one)


def test_pictures_that_are_named_are_not_found(client: TestClient, indexed: list[Shape]) -> None:
    named = [shape.id for shape in indexed[:3]]
    asked = [{"id": named[0]}, {"id": named[1]}, {"id": named[2], "weight": -0.5}]
    found = hits(client, image=asked, limit=1000)
    assert len(found) > 50 and not {hit["id"] for hit in found} & set(named)


def test_the_order_of_pictures_does_not_matter(client: TestClient, indexed: list[Shape]) -> None:
    asked = [
        {"id": indexed[0].id},
        {"id": indexed[9].id, "weight": 0.5},
        {"id": indexed[20].id, "weight": -0.3},
    ]
    assert hits(client, image=asked, tags=["red"]) == hits(client, image=asked[::-1], tags=["red"])


def test_a_picture_to_be_unlike_sends_its_kind_to_the_end(client: TestClient, indexed: list[Shape]) -> None:
    like = next(shape for shape in indexed if (shape.colour, shape.shape) == ("red", "circle"))
    unlike = next(shape for shape in indexed if (shape.colour, shape.shape) == ("red", "star"))

    def place(weight: float) -> float:
        asked = [{"id": like.id}, {"id": unlike.id, "weight": weight}]
        found = hits(client, image=asked, visual_weight=0, limit=1000)
        places = [i for i, hit in enumerate(found) if "star" in [tag["name"] for tag in hit["tags"]]]
        return sum(places) / len(places)

    assert place(-0.8) > place(0.0) > place(0.8)


def test_pictures_come_by_id_and_in_the_body_together(
    client: TestClient, indexed: list[Shape], held_out: list[Shape]
) -> None:
    data = base64.b64encode(png(held_out[0])).decode()
    body = {
        "image": [{"id": indexed[0].id}, {"data": data, "weight": -0.5}, {"id": held_out[1].id}],
        "explain": True,
    }
    response = client.post("/v1/search", json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer["took_ms"]) == {"decode", "encode", "attach", "search", "total"}
    assert min(edge["weight"] for edge in answer["explain"]["images"]) < 0


def test_a_batch_answers_several_pictures_as_a_single_question_does(
    client: TestClient, indexed: list[Shape]
) -> None:
    asked = [{"id": indexed[0].id}, {"id": indexed[9].id, "weight": -0.4}]
    queries: list[dict[str, Any]] = [{"image": asked}, {"image": asked, "text": "a crimson disc"}]
    results = client.post("/v1/search/batch", json={"queries": queries}).json()["results"]
    assert [result["hits"] for result in results] == [hits(client, **query) for query in queries]


def test_pages_of_several_pictures_are_the_whole_list_cut_in_pieces(
    client: TestClient, indexed: list[Shape]
) -> None:
    asked: dict[str, Any] = {"image": [{"id": indexed[0].id}, {"id": indexed[9].id}], "limit": 7}
    first = client.post("/v1/search", json=asked).json()
    second = hits(client, **asked, cursor=first["next_cursor"])
    assert first["hits"] + second == hits(client, **{**asked, "limit": 14})


def test_pictures_that_cancel_are_refused(client: TestClient, indexed: list[Shape]) -> None:
    one = {"id": indexed[0].id}
    for asked in ([one, {**one, "weight": -1}], [{**one, "weight": 0}], [{**one, "weight": -1}]):
        problem(client.post("/v1/search", json={"image": asked}), 422, "empty-query")


@pytest.mark.parametrize(
    ("image", "pointer"),
    [
        ([], "/image"),
        ([{"id": "a"}] * (MAX_IMAGES + 1), "/image"),
        ([{"id": "a"}, {}], "/image/1"),
        ([{"id": "a", "weight": 101}], "/image/0/weight"),
        ([{"id": "a", "data": "b"}], "/image/0"),
        (["a"], "/image/0"),
        ({"id": "a", "weight": 1}, "/image/weight"),
    ],
)
def test_a_wrong_list_is_pointed_at(client: TestClient, image: Any, pointer: str) -> None:
    answer = problem(client.post("/v1/search", json={"image": image}), 422, "invalid-request")
    assert pointer in [error["pointer"] for error in answer["errors"]]


def test_the_picture_of_a_list_that_is_not_there_is_pointed_at(
    client: TestClient, indexed: list[Shape]
) -> None:
    asked = [{"id": indexed[0].id}, {"id": "no/such"}]
    answer = problem(client.post("/v1/search", json={"image": asked}), 404, "not-found")
    assert answer["errors"][0]["pointer"] == "/image/1/id"
    broken = [{"id": indexed[0].id}, {"data": "#", "weight": -1}]
    answer = problem(client.post("/v1/search", json={"image": broken}), 422, "invalid-request")
    assert answer["errors"][0]["pointer"] == "/image/1/data"
