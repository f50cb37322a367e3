"""Fixtures for the encoder tests: one encoder of each kind for the whole session."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gnn.encoders.efficientnet import EfficientNetLite0
from gnn.encoders.minilm import MiniLM
from gnn.encoders.openclip import OpenClip

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def efficientnet() -> EfficientNetLite0:
    return EfficientNetLite0(device="cpu")


@pytest.fixture(scope="session")
def efficientnet_int8() -> EfficientNetLite0:
    return EfficientNetLite0(int8=True)


@pytest.fixture(scope="session")
def minilm() -> MiniLM:
    return MiniLM(device="cpu")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly drawn open_clip model of a new architecture, saved to disk as a user would save theirs."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("open_clip")
    config = folder / "imsage-tiny.json"
    config.write_text(json.dumps(TINY))
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    model = open_clip.create_model("imsage-tiny")
    path = folder / "weights" / "tiny.safetensors"
    path.parent.mkdir()
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def tiny_clip(tiny_checkpoint: Path) -> OpenClip:
    return OpenClip(f"open_clip:imsage-tiny@{tiny_checkpoint}", device="cpu")


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Five coloured noise pictures of different shapes, two of them of the encoder's own size."""
    draw = np.random.default_rng(0)
    sizes = [(224, 224), (224, 224), (300, 200), (64, 400), (17, 19)]
    return [Image.fromarray(draw.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
