"""A service whose encoders are gone: their packages were removed, or their weights damaged."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from graph_store.data_dir import DataDir
from tests.api.conftest import png, problem, serving
from tests.shapes import Shape


def test_without_the_weights_of_the_encoders_all_goes_on_that_needs_none(
    built_data_dir: DataDir, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> Path:
        raise FileNotFoundError("there are no weights")

    monkeypatch.setattr("gnn.encoders.efficientnet.weights_path", gone)
    monkeypatch.setattr("gnn.encoders.minilm.model_dir", gone)
    with serving(built_data_dir.root) as client:
        for asked in ({"image": {"id": indexed[0].id}}, {"tags": ["red"]}):
            assert client.post("/v1/search", json=asked).json()["hits"]
        picture = base64.b64encode(png(indexed[0])).decode()
        told = problem(client.post("/v1/search", json={"image": {"data": picture}}), 503, "encoder-missing")
        assert "efficientnet_lite0" in told["detail"]
        problem(client.post("/v1/search", json={"text": "something scarlet"}), 422)
