from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gnn.encoders import efficientnet as efficientnet_module
from gnn.encoders import int8_graph
from gnn.encoders.base import check_same_encoder
from gnn.encoders.efficientnet import EfficientNetLite0, weights_path
from graph_store.errors import BadInput, EncoderMismatch, ImsageError


def test_features_are_unit_vectors_of_1280_dimensions(
    efficientnet: EfficientNetLite0, pictures: list[Image.Image]
) -> None:
    features = efficientnet.encode(np.stack([efficientnet.preprocess(picture) for picture in pictures]))

    assert features.shape == (5, 1280) == (5, efficientnet.spec.dim)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-5)


def test_a_picture_has_the_same_features_alone_and_in_any_batch(
    efficientnet: EfficientNetLite0, pictures: list[Image.Image]
) -> None:
    batch = np.stack([efficientnet.preprocess(picture) for picture in pictures] * 3)

    together = efficientnet.encode(batch)
    alone = np.concatenate([efficientnet.encode(batch[i : i + 1]) for i in range(5)])

    np.testing.assert_allclose(together, np.concatenate([alone] * 3), atol=1e-5)


def test_onnx_gives_what_pytorch_gives(efficientnet: EfficientNetLite0, pictures: list[Image.Image]) -> None:
    import torch

    from gnn.encoders.efficientnet_torch import load_lite0

    batch = np.stack([efficientnet.preprocess(picture) for picture in pictures])
    with torch.inference_mode():
        expected = load_lite0(weights_path())(torch.from_numpy(batch)).numpy()

    np.testing.assert_allclose(efficientnet.encode(batch), expected, atol=1e-4)


def test_no_pictures_give_no_features(efficientnet: EfficientNetLite0) -> None:
    assert efficientnet.encode(np.zeros((0, 3, 224, 224), dtype=np.uint8)).shape == (0, 1280)


def test_pixels_of_another_type_or_size_are_refused(efficientnet: EfficientNetLite0) -> None:
    with pytest.raises(BadInput, match="uint8"):
        efficientnet.encode(np.zeros((1, 3, 224, 224), dtype=np.float32))
    with pytest.raises(BadInput, match="224"):
        efficientnet.encode(np.zeros((1, 3, 100, 224), dtype=np.uint8))


def test_one_thread_gives_the_same_features(
    efficientnet: EfficientNetLite0, pictures: list[Image.Image]
) -> None:
    batch = np.stack([efficientnet.preprocess(picture) for picture in pictures])

    single = EfficientNetLite0(device="cpu", threads=1)

    assert single.spec == efficientnet.spec
    np.testing.assert_allclose(single.encode(batch), efficientnet.encode(batch), atol=1e-5)


def test_the_weights_are_named_by_their_digest(efficientnet: EfficientNetLite0) -> None:
    assert efficientnet.spec.weights_sha256.startswith(Path(weights_path()).stem.rpartition("-")[2])


def test_int8_features_point_where_those_of_float32_do(
    efficientnet: EfficientNetLite0, efficientnet_int8: EfficientNetLite0, pictures: list[Image.Image]
) -> None:
    batch = np.stack([efficientnet.preprocess(picture) for picture in pictures])
    features = efficientnet_int8.encode(batch)

    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-5)
    assert (features * efficientnet.encode(batch)).sum(axis=1).min() > 0.95


def test_int8_features_are_the_same_alone_in_a_batch_and_with_one_thread(
    efficientnet_int8: EfficientNetLite0, pictures: list[Image.Image]
) -> None:
    batch = np.stack([efficientnet_int8.preprocess(picture) for picture in pictures])
    together = efficientnet_int8.encode(batch)

    np.testing.assert_allclose(efficientnet_int8.encode(batch[2:3]), together[2:3], atol=1e-5)
    single = EfficientNetLite0(int8=True, threads=1)
    np.testing.assert_allclose(single.encode(batch), together, atol=1e-5)


def test_int8_features_are_never_compared_with_those_of_float32(
    efficientnet: EfficientNetLite0, efficientnet_int8: EfficientNetLite0
) -> None:
    assert efficientnet_int8.spec.slug != efficientnet.spec.slug
    with pytest.raises(EncoderMismatch, match="efficientnet_lite0_int8"):
        check_same_encoder(efficientnet.spec, efficientnet_int8.spec)


def test_another_network_is_not_quantized_with_these_ranges(
    efficientnet: EfficientNetLite0, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_graph, "RANGES", int8_graph.RANGES[:-1])
    with pytest.raises(ImsageError, match=r"25 tensors .* 24"):
        int8_graph.quantized(efficientnet.graph)


def test_a_processor_that_computes_int8_wrongly_is_refused(
    efficientnet: EfficientNetLite0, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # What sums that overflow look like: the tensors are cut far below what they reach.
    cut = tuple((operation, low / 50, high / 50) for operation, low, high in int8_graph.RANGES)
    monkeypatch.setattr(int8_graph, "RANGES", cut)
    monkeypatch.setenv("IMSAGE_CACHE_DIR", str(tmp_path))
    with pytest.raises(ImsageError, match="differs from float32"):
        EfficientNetLite0(int8=True).encode(np.zeros((1, 3, 224, 224), dtype=np.uint8))


def test_what_another_processor_has_checked_is_checked_again(
    efficientnet: EfficientNetLite0, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(floats: bytes) -> bytes:
        raise ImsageError("differs from float32")

    monkeypatch.setenv("IMSAGE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(efficientnet_module, "_export", lambda weights: efficientnet.graph)
    _ = EfficientNetLite0(int8=True).graph
    monkeypatch.setattr(efficientnet_module, "_quantize", refused)
    _ = EfficientNetLite0(int8=True).graph  # on the same processor it is taken as it lies there

    monkeypatch.setattr(efficientnet_module, "int8_arithmetic", lambda: "another processor")
    with pytest.raises(ImsageError, match="differs from float32"):
        EfficientNetLite0(int8=True)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no nice value of their own here")
def test_encoding_many_pictures_gives_way_to_whoever_asks() -> None:
    def nice_values() -> set[int]:
        return {os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) for thread in threading.enumerate()}

    encoder = EfficientNetLite0(device="cpu", threads=2)
    encoder.encode(np.zeros((8, 3, 224, 224), dtype=np.uint8))
    assert {os.nice(0), os.nice(0) + 5} <= nice_values()
