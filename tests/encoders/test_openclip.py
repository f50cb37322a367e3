from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gnn.encoders.base import check_same_encoder
from gnn.encoders.openclip import OpenClip
from gnn.encoders.registry import image_encoder, text_encoder
from graph_store.errors import BadInput, UnknownName
from tests.encoders.conftest import TINY


def test_pictures_and_text_come_out_as_unit_vectors_of_one_space(
    tiny_clip: OpenClip, pictures: list[Image.Image]
) -> None:
    images = tiny_clip.encode(np.stack([tiny_clip.preprocess(picture) for picture in pictures]))
    texts = tiny_clip.encode_text(["a dog", "two cats on a sofa"])

    assert images.shape == (5, 24) and texts.shape == (2, 24) and tiny_clip.spec.dim == 24
    for features in (images, texts):
        assert features.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-5)


def test_one_at_a_time_gives_what_a_batch_gives(tiny_clip: OpenClip, pictures: list[Image.Image]) -> None:
    batch = np.stack([tiny_clip.preprocess(picture) for picture in pictures])
    words = ["dog", "a much longer sentence about a dog", "北京"]

    alone = np.concatenate([tiny_clip.encode(batch[i : i + 1]) for i in range(len(batch))])
    alone_text = np.concatenate([tiny_clip.encode_text([word]) for word in words])

    np.testing.assert_allclose(tiny_clip.encode(batch), alone, atol=1e-5)
    np.testing.assert_allclose(tiny_clip.encode_text(words), alone_text, atol=1e-5)


def test_it_gives_what_open_clip_itself_gives(
    tiny_clip: OpenClip, tiny_checkpoint: Path, pictures: list[Image.Image]
) -> None:
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(
        "imsage-tiny", pretrained=str(tiny_checkpoint)
    )
    with torch.inference_mode():
        expected = model.eval().encode_image(transform(pictures[2])[None], normalize=True).numpy()

    np.testing.assert_allclose(tiny_clip.encode(tiny_clip.preprocess(pictures[2])[None]), expected, atol=1e-5)


def test_empty_batches_are_allowed(tiny_clip: OpenClip) -> None:
    assert tiny_clip.encode_text([]).shape == (0, 24)
    assert tiny_clip.encode(np.zeros((0, 3, 32, 32), dtype=np.float32)).shape == (0, 24)


def test_the_registry_gives_it_for_both_sides(tiny_checkpoint: Path) -> None:
    name = f"open_clip:imsage-tiny@{tiny_checkpoint}"

    assert image_encoder(name, device="cpu").spec == text_encoder(name, device="cpu").spec


def test_a_moved_checkpoint_is_the_same_encoder(
    tiny_clip: OpenClip, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    moved = shutil.copy(tiny_checkpoint, tmp_path / "elsewhere.safetensors")

    other = OpenClip(f"open_clip:imsage-tiny@{moved}", device="cpu")

    check_same_encoder(tiny_clip.spec, other.spec)
    assert other.spec.slug == tiny_clip.spec.slug


def test_a_folder_brings_its_own_architecture(
    tiny_clip: OpenClip, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copy(tiny_checkpoint, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": {}}))

    encoder = OpenClip(f"open_clip:mine@{tmp_path}", device="cpu")

    np.testing.assert_allclose(encoder.encode_text(["dog"]), tiny_clip.encode_text(["dog"]), atol=1e-6)


def test_an_unknown_model_is_refused_with_near_names() -> None:
    with pytest.raises(UnknownName, match="ViT-B-32"):
        OpenClip("open_clip:ViT-B-3/openai")


def test_unknown_weights_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="laion2b_s34b_b79k"):
        OpenClip("open_clip:ViT-B-32/no_such_weights")


@pytest.mark.parametrize("name", ["open_clip:", "open_clip:ViT-B-32", "open_clip:/x"])
def test_a_half_name_is_refused_with_the_form_to_write(name: str) -> None:
    with pytest.raises(UnknownName, match="open_clip:MODEL/PRETRAINED"):
        OpenClip(name)


def test_without_the_hub_the_local_path_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The hub's own offline switch, read when it is imported, stands for a machine without network.
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(BadInput, match=r"open_clip:ViT-B-32@/path/to/checkpoint"):
        OpenClip("open_clip:ViT-B-32/laion2b_s34b_b79k")


def test_a_missing_checkpoint_is_refused_by_name(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.safetensors"):
        OpenClip(f"open_clip:imsage-tiny@{tmp_path / 'gone.safetensors'}")


def test_a_checkpoint_of_another_model_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    other = tmp_path / "other.safetensors"
    save_file({"something": torch.zeros(3)}, other)

    with pytest.raises(BadInput, match="cannot be loaded"):
        OpenClip(f"open_clip:imsage-tiny@{other}", device="cpu")


class _Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._mark,)


@pytest.mark.parametrize("ending", ["pt", "bin", "safetensors"])
def test_a_checkpoint_that_is_a_pickle_is_refused_and_runs_nothing(
    tiny_checkpoint: Path, tmp_path: Path, ending: str
) -> None:
    import torch

    mark = tmp_path / "pwned"
    file = tmp_path / f"weights.{ending}"
    torch.save({"state_dict": _Trap(mark)}, file)

    with pytest.raises(BadInput, match="cannot be loaded"):
        OpenClip(f"open_clip:imsage-tiny@{file}", device="cpu")

    assert not mark.exists()
