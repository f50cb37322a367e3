"""A picture that is stored while the service runs is joined to those that may still be heard, and to no
others, whatever was written first.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from graph_store.data_dir import DataDir
from tests.api.conftest import png, serving
from tests.api.test_live_catalogue import search, upsert
from tests.shapes import Shape


@pytest.fixture
def live(built_copy: DataDir) -> Iterator[TestClient]:
    """A service whose catalogue the test may change."""
    with serving(built_copy.root) as client:
        yield client


def picture(shape: Shape) -> dict[str, str]:
    return {"data": base64.b64encode(png(shape)).decode()}


def store(client: TestClient, shape: Shape) -> None:
    upsert(client, {"id": "new", "image": picture(shape)})


def neighbours(client: TestClient, image_id: str = "new") -> list[str]:
    return [edge["id"] for edge in client.get(f"/v1/images/{image_id}/neighbors").json()["similar"]]


def delete(client: TestClient, ids: list[str]) -> None:
    assert client.post("/v1/images/delete", json={"ids": ids}).json()["deleted"] == len(ids)


def scores(client: TestClient, image: dict[str, str]) -> dict[str, tuple[float, float]]:
    hits = search(client, image=image, limit=1000)["hits"]
    return {hit["id"]: (hit["visual"], hit["conceptual"]) for hit in hits if hit["id"] != "new"}


def assert_alike(some: dict[str, tuple[float, float]], others: dict[str, tuple[float, float]]) -> None:
    assert some.keys() == others.keys()
    assert all(some[each] == pytest.approx(others[each], abs=2e-5) for each in some)


@pytest.mark.parametrize("stored_first", [False, True])
def test_a_stored_picture_is_joined_as_an_uploaded_one_whichever_came_first_it_or_the_removals(
    live: TestClient, built_copy: DataDir, indexed: list[Shape], stored_first: bool
) -> None:
    shape = indexed[3]
    nearest = neighbours(live, shape.id)
    if stored_first:
        store(live, shape)
        assert shape.id in neighbours(live)
    delete(live, [shape.id, *nearest])
    if not stored_first:
        store(live, shape)
    joined = neighbours(live)
    assert joined and not {shape.id, *nearest} & set(joined)
    assert_alike(scores(live, {"id": "new"}), scores(live, picture(shape)))
    with serving(built_copy.root) as other:
        assert neighbours(other) == joined
        assert_alike(scores(other, {"id": "new"}), scores(live, {"id": "new"}))


def test_a_picture_whose_tags_were_put_back_is_a_neighbour_again(
    live: TestClient, indexed: list[Shape]
) -> None:
    shape = indexed[3]
    address = f"/v1/images/{shape.id}"
    had = live.get(address).json()["tags"]
    live.patch(address, json={"tags": ["changed"]}).raise_for_status()
    store(live, shape)
    assert shape.id not in neighbours(live)
    live.patch(address, json={"tags": had}).raise_for_status()
    assert shape.id in neighbours(live)
    assert_alike(scores(live, {"id": "new"}), scores(live, picture(shape)))
