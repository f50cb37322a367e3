"""Settings that guard a running service have their effect where the service is asked."""

from __future__ import annotations

import base64
import socket
from functools import partial

import pytest
from fastapi.testclient import TestClient

from app.fetch import PictureFetcher
from graph_store.data_dir import DataDir
from tests.api.conftest import png, problem, serving
from tests.shapes import Shape


def stored(client: TestClient, image_id: str, data: bytes) -> dict[str, object]:
    """What became of an upsert of one picture."""
    image = {"id": image_id, "image": {"data": base64.b64encode(data).decode()}}
    response = client.post("/v1/images", json={"images": [image]})
    assert response.status_code == 200, response.text
    result: dict[str, object] = response.json()["results"][0]
    return result


def test_a_picture_of_more_bytes_than_max_image_bytes_is_refused_at_every_door(
    built_copy: DataDir, held_out: list[Shape]
) -> None:
    small, large = png(held_out[0], 24), png(held_out[0], 640)
    assert len(small) <= 1024 < len(large)
    with serving(built_copy.root, max_image_bytes=1024) as client:

        def asked(data: bytes) -> list[int]:
            body = {"image": {"data": base64.b64encode(data).decode()}}
            return [
                client.post("/v1/search", json=body).status_code,
                client.post("/v1/search/upload", files={"image": ("a.png", data, "image/png")}).status_code,
                client.post("/v1/tags/predict", json=body).status_code,
            ]

        assert asked(small) == [200, 200, 200] and asked(large) == [422, 422, 422]
        body = {"image": {"data": base64.b64encode(large).decode()}}
        refused = problem(client.post("/v1/search", json=body), 422, "bad-input")
        assert stored(client, "small", small)["status"] == "created"
        assert stored(client, "large", large)["status"] == "failed"
    assert "at most 1,024 are allowed" in refused["detail"]


def test_an_address_that_does_not_answer_is_given_up_after_url_fetch_timeout(
    built_data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Loopback is the one address that a test has, and the one that is never fetched.
    monkeypatch.setattr("app.picture_finder.PictureFetcher", partial(PictureFetcher, allowed=lambda _: True))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        chosen = {"url_fetch": True, "url_fetch_timeout": 0.25, "url_fetch_ports": (port,)}
        with serving(built_data_dir.root, **chosen) as client:
            body = {"image": {"url": f"http://127.0.0.1:{port}/picture.png"}}
            refused = problem(client.post("/v1/search", json=body), 422, "bad-input")

    assert "took longer than 0.25 s" in refused["detail"]


@pytest.mark.parametrize("keep", [True, False])
def test_the_bytes_of_an_upserted_picture_are_kept_only_where_keep_upserted_says_so(
    built_copy: DataDir, held_out: list[Shape], keep: bool
) -> None:
    data = png(held_out[0], 300)
    with serving(built_copy.root, keep_upserted=keep) as client:
        assert stored(client, "new", data)["status"] == "created"
        answers = [client.get(f"/v1/images/new{part}") for part in ("", "/thumbnail", "/file")]

    assert [answer.status_code for answer in answers] == [200, 200, 200 if keep else 404]
    on_disk = [path.read_bytes() for path in built_copy.blobs_dir.rglob("*") if path.is_file()]
    assert (data in on_disk) is keep
