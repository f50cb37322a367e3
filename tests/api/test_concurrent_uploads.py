"""Pictures of concurrent requests meet in one encoder call, and each gets the answer it would get alone."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from gnn.encoders.efficientnet import EfficientNetLite0
from graph_store.arrays import AnyArray, Float32Array
from graph_store.data_dir import DataDir
from tests.api.conftest import png, serving
from tests.shapes import Shape


def test_several_uploads_are_one_call_of_the_encoder_with_the_same_answers(
    built_data_dir: DataDir, held_out: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = EfficientNetLite0.encode

    def counting(self: EfficientNetLite0, batch: AnyArray) -> Float32Array:
        sizes.append(len(batch))
        return original(self, batch)

    monkeypatch.setattr(EfficientNetLite0, "encode", counting)
    bodies = [
        {"image": {"data": base64.b64encode(png(shape)).decode()}, "limit": 5} for shape in held_out[:6]
    ]

    def ask(client: TestClient, body: dict[str, Any]) -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = client.post("/v1/search", json=body).json()["hits"]
        return hits

    with serving(built_data_dir.root, batch_wait_ms=200) as client:
        alone = [ask(client, body) for body in bodies]
        assert sizes == [1] * len(bodies)
        sizes.clear()
        with ThreadPoolExecutor(len(bodies)) as pool:
            together = list(pool.map(lambda body: ask(client, body), bodies))
    assert len(sizes) < len(bodies) and max(sizes) > 1 and sum(sizes) == len(bodies)
    for one, same in zip(alone, together, strict=True):
        assert [hit["id"] for hit in one] == [hit["id"] for hit in same]
        np.testing.assert_allclose([hit["score"] for hit in one], [hit["score"] for hit in same], atol=1e-4)
