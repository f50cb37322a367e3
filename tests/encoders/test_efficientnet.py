from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gnn.encoders.efficientnet import EfficientNetLite0, weights_path
from graph_store.errors import BadInput


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
