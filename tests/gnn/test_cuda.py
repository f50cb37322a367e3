"""What also runs on a GPU gives there what it gives here. Skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gnn.encoders.device import cuda_present
from gnn.encoders.efficientnet import EfficientNetLite0
from gnn.encoders.minilm import MiniLM
from tests.gnn.worlds import drawn_data, trained

pytestmark = pytest.mark.skipif(not cuda_present(), reason="there is no CUDA device here")


def test_pictures_have_the_same_features_on_the_gpu() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 300, 200, 3), dtype=np.uint8)
    here, there = EfficientNetLite0(device="cpu"), EfficientNetLite0(device="cuda")
    batch = np.stack([here.preprocess(Image.fromarray(one)) for one in pixels])
    np.testing.assert_allclose(there.encode(batch), here.encode(batch), atol=1e-4)


def test_words_have_the_same_features_on_the_gpu() -> None:
    words = ["dog", "a red bus in the snow"]
    here, there = MiniLM(device="cpu"), MiniLM(device="cuda")
    np.testing.assert_allclose(there.encode_text(words), here.encode_text(words), atol=1e-4)


@pytest.mark.parametrize("preset", ["paper", "graph-rise"])
def test_training_in_bf16_on_the_gpu_gives_a_model_for_the_cpu(preset: str, tmp_path: Path) -> None:
    model = trained(drawn_data(), tmp_path, preset, epochs=2, device="cuda").model
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert all(parameter.isfinite().all() for parameter in model.parameters())
