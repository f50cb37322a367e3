"""A server that is killed right after it answered a write has lost nothing of it."""

from __future__ import annotations

import base64
import signal
from pathlib import Path
from typing import Any

from app.verify import verify_data_dir
from graph_store.data_dir import DataDir
from graph_store.progress import SilentProgress
from tests.api.conftest import png, serving
from tests.api.test_serve import started
from tests.shapes import Shape

NEW = Shape("red", "star", "large", 7, (0.5, 0.5), 0.36)


def test_an_answered_write_survives_a_kill(built_copy: DataDir, indexed: list[Shape], tmp_path: Path) -> None:
    data = base64.b64encode(png(NEW)).decode()
    image: dict[str, Any] = {"id": "new", "image": {"data": data}, "tags": NEW.tags}
    with started(built_copy.root, tmp_path / "log", signal.SIGKILL) as (client, _):
        stored = client.post("/v1/images", json={"images": [image, {**image, "id": indexed[1].id}]})
        deleted = client.delete(f"/v1/images/{indexed[0].id}")
        edited = client.patch("/v1/images/new", json={"tags": ["brand new"]})
    assert [stored.status_code, deleted.status_code, edited.status_code] == [200, 200, 200]
    assert verify_data_dir(built_copy, SilentProgress()) == []
    with serving(built_copy.root) as client:
        by_looks = {"image": {"data": data}, "visual_weight": 1, "limit": 2}
        alike = [hit["id"] for hit in client.post("/v1/search", json=by_looks).json()["hits"]]
        assert set(alike) == {"new", indexed[1].id}
        everything = client.post("/v1/search", json={"tags": ["red"], "limit": 1000}).json()["hits"]
        found = {hit["id"]: [tag["name"] for tag in hit["tags"]] for hit in everything}
        assert found["new"] == ["brand new"]
        assert indexed[0].id not in found
