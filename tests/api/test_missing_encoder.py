"""A service whose encoders are gone, their packages removed or their weights damaged, or are others than
those that made the index.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import app.query_pictures
import app.query_words
from app.query_pictures import QueryPictures
from app.settings import load_settings
from gnn.encoders.base import EncoderSpec
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, EncoderMissing
from tests.api.conftest import png, problem, serving
from tests.api.test_logs_and_metrics import logged
from tests.api.test_snapshot_swap import wait_until
from tests.shapes import Shape


def with_other_weights(encoder: Callable[..., Any]) -> Callable[..., Any]:
    """An encoder of that name as a later version of imsage may bring it along."""

    def made(name: str, **given: Any) -> Any:
        other = encoder(name, **given)
        other.spec = replace(other.spec, weights_sha256="0" * 64)
        return other

    return made


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


def test_an_encoder_with_other_weights_is_logged_and_refuses_what_it_would_have_to_read(
    built_copy: DataDir, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = base64.b64encode(png(indexed[0])).decode()
    for module, name in ((app.query_pictures, "image_encoder"), (app.query_words, "text_encoder")):
        monkeypatch.setattr(module, name, with_other_weights(getattr(module, name)))
    known: list[dict[str, Any]] = [{"image": {"id": indexed[0].id}}, {"tags": ["red"]}, {"text": "red"}]
    to_read: list[dict[str, Any]] = [
        {"image": {"data": picture}},
        {"text": "something scarlet"},
        {"tags": ["scarlet"]},
        {"image": {"id": indexed[0].id}, "tags": [{"name": "scarlet", "weight": -0.5}]},
    ]
    with logged() as lines, serving(built_copy.root) as client:
        wait_until(lambda: any(line["event"] == "image_encoder_unusable" for line in lines))
        for asked in known:
            assert client.post("/v1/search", json=asked).json()["hits"]
        for asked in to_read:
            told = problem(client.post("/v1/search", json=asked), 409, "encoder-mismatch")
            assert "weights_sha256" in told["detail"]
        stored = client.post("/v1/images", json={"images": [{"id": "new", "image": {"data": picture}}]})
        (result,) = stored.json()["results"]
        assert result["status"] == "failed" and result["problem"]["status"] == 409
        assert result["problem"]["type"] == "urn:imsage:problem:encoder-mismatch"
        assert client.get("/v1/images/new").status_code == 404
    unusable = {line["event"]: line["reason"] for line in lines if line["event"].endswith("_unusable")}
    assert set(unusable) == {"image_encoder_unusable", "text_encoder_unusable"}
    assert all("weights_sha256" in reason for reason in unusable.values())


def test_an_encoder_that_cannot_be_loaded_is_not_the_fault_of_a_picture_nor_tried_for_each(
    built_copy: DataDir, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def without_its_checkpoint(name: str, **given: Any) -> Any:
        tries.append(name)
        raise BadInput("There is no checkpoint /models/mine.safetensors")

    monkeypatch.setattr(app.query_pictures, "image_encoder", without_its_checkpoint)
    monkeypatch.setattr(app.query_pictures, "_AGAIN_AFTER_SECONDS", 3600.0)
    picture = base64.b64encode(png(indexed[0])).decode()
    with logged() as lines, serving(built_copy.root) as client:
        wait_until(lambda: any(line["event"] == "image_encoder_unusable" for line in lines))
        for asked in ({"image": {"data": picture}}, {"image": [{"data": picture}, {"data": picture}]}):
            told = problem(client.post("/v1/search", json=asked), 503, "encoder-missing")
            assert "mine.safetensors" in told["detail"] and not told["errors"]
        stored = client.post("/v1/images", json={"images": [{"id": "new", "image": {"data": picture}}]})
        assert stored.json()["results"][0]["problem"]["type"] == "urn:imsage:problem:encoder-missing"
        assert len(tries) == 1
        monkeypatch.setattr(app.query_pictures, "_AGAIN_AFTER_SECONDS", 0.0)
        problem(client.post("/v1/search", json={"image": {"data": picture}}), 503, "encoder-missing")
        assert len(tries) == 2


def test_a_device_that_is_not_there_is_told_as_an_encoder_that_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gnn.encoders.device.cuda_present", lambda: False)
    pictures = QueryPictures(load_settings(device="cuda:1"))
    with pytest.raises(EncoderMissing, match=r"efficientnet_lite0.*no CUDA here"):
        pictures.load(EncoderSpec("efficientnet_lite0", "ab" * 32, 16, "RGB"))
    with pytest.raises(BadInput, match="brought along"):
        pictures.load(EncoderSpec("precomputed:dino", "", 16, ""))
    pictures.close()
