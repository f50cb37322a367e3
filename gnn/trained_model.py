"""What training leaves behind, in one file: weights as safetensors, the rest as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gnn.calibration import Calibration
from gnn.checkpoint import load_checkpoint, save_checkpoint, strip_prefix, with_prefix
from gnn.encoders.base import EncoderSpec
from gnn.hashing.codes import HashCodes
from gnn.model.base import GraphModel
from gnn.model.kernel_config import KernelSageConfig
from gnn.model.kernel_sage import KernelSage
from gnn.model.rise_sage import RiseConfig, RiseSage
from gnn.model.sage import HeteroSage, SageConfig
from gnn.presets import Preset, preset_named
from gnn.projection import Projection
from gnn.recipe_options import with_recipe
from graph_store.arrays import Float32Array, Int64Array
from graph_store.checksums import sha256_of_file
from graph_store.durable import write_bytes
from graph_store.errors import CorruptFile, ImsageError
from graph_store.versions import way_out

MODEL = "model.safetensors"
CONFIG = "config.json"
FORMAT = 6
READABLE_FORMATS = (2, 3, 4, 5, 6)
"""In format 2 the axes of `space` held its scale, and it had no roots."""


@dataclass(frozen=True)
class SliderBalance:
    """How a query is compared, found on the validation part.

    ``visual``: what a visual cosine weighs against a conceptual one in the middle of the slider;
    ``jaccard``: share of the Jaccard view in the conceptual part (the rest is the tag view);
    ``look``: what looks tell about meaning, the weight of a visual cosine inside the conceptual part;
    ``guess``: how much of what a picture is likely to show is taken in beside the tags that are asked for
    (:mod:`gnn.told_pictures`);
    ``refusal``: how much of its vector a refused tag of weight -1 takes away beside pictures that no tag is
    told of (:mod:`gnn.kernel_refusal`).
    """

    visual: float = 1.0
    jaccard: float = 0.5
    look: float = 0.0
    guess: float = 0.0
    refusal: float = 0.15


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """``tag_names``: the tags the model knows, in the order of its own numbers; ``space``: where
    `similar` neighbours are searched; ``data``: fingerprint of what it was trained on; ``hashing``: heads for
    binary codes, where the preset has them.
    """

    preset: Preset
    model: GraphModel
    tag_names: tuple[str, ...]
    space: Projection
    balance: SliderBalance
    calibration: Calibration
    encoder: EncoderSpec
    text_encoder: EncoderSpec
    data: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    hashing: HashCodes | None = None

    def neighbour_vectors(self, inputs: torch.Tensor, features: Float32Array) -> Float32Array:
        """[n, width of `space`]: images as `similar` neighbours are searched. inputs: the model's h^0 of the
        features [n, dim]. The kernel model has projected them on the same axes: nothing is read twice.
        """
        if isinstance(self.model, KernelSage) and self.space.roots:
            return self.space.of_projected(inputs[:, : self.model.config.width].numpy())
        return self.space(features)

    def save(self, directory: Path) -> None:
        """Write `model.safetensors`, and `config.json` for people. Raises Unwritable."""
        directory.mkdir(parents=True, exist_ok=True)
        meta = self._meta()
        tensors = {
            **with_prefix("model/", self.model.state_dict()),
            "space/mean": torch.from_numpy(np.array(self.space.mean)),
            "space/axes": torch.from_numpy(np.array(self.space.axes)),
            "space/scale": torch.from_numpy(np.array(self.space.scale)),
            **(with_prefix("hash/", self.hashing.tensors()) if self.hashing else {}),
        }
        save_checkpoint(directory / MODEL, tensors, meta)
        write_bytes(directory / CONFIG, shown_config(meta))

    def _meta(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "preset": self.preset.name,
            "recipe": self.preset.to_dict(),
            "model": config_of(self.model),
            "tag_names": list(self.tag_names),
            "balance": asdict(self.balance),
            "calibration": self.calibration.to_dict(),
            "encoder": self.encoder.to_dict(),
            "text_encoder": self.text_encoder.to_dict(),
            "data": self.data,
            "metrics": self.metrics,
            "hashing": self.hashing.meta() if self.hashing else None,
        }


def shown_config(meta: Mapping[str, Any]) -> bytes:
    """What `config.json` holds of a model's description."""
    shown = {key: value for key, value in meta.items() if key != "tag_names"}
    return json.dumps(shown, indent=2, sort_keys=True).encode()


def load_trained_model(directory: Path) -> TrainedModel:
    """Read what `save` wrote. Raises CorruptFile, which names the file."""
    path = directory / MODEL
    tensors, meta = load_checkpoint(path)
    if meta.get("format") not in READABLE_FORMATS:
        raise CorruptFile(
            f"The model in {path} has format {meta.get('format')}; this version reads {FORMAT}",
            hint=way_out(meta.get("format"), FORMAT, "Train and reindex again."),
            path=path,
        )
    try:
        preset = with_recipe(preset_named(meta["preset"]), meta["recipe"])
        model = new_model(preset, meta["model"])
        model.load_state_dict(strip_prefix("model/", tensors))
        model.eval()
        return TrainedModel(
            preset=preset,
            model=model,
            tag_names=tuple(meta["tag_names"]),
            space=_space(tensors, preset),
            balance=SliderBalance(**meta["balance"]),
            calibration=Calibration(**meta["calibration"]),
            encoder=EncoderSpec.from_dict(meta["encoder"]),
            text_encoder=EncoderSpec.from_dict(meta["text_encoder"]),
            data=meta["data"],
            metrics=meta["metrics"],
            hashing=(
                HashCodes.from_tensors(strip_prefix("hash/", tensors), meta["hashing"])
                if meta.get("hashing")
                else None
            ),
        )
    except (KeyError, TypeError, ValueError, RuntimeError, ImsageError) as error:
        raise CorruptFile(f"The model in {path} does not fit this version: {error}", path=path) from error


def _space(tensors: Mapping[str, torch.Tensor], preset: Preset) -> Projection:
    mean, axes = tensors["space/mean"].numpy(), tensors["space/axes"].numpy()
    stored = tensors.get("space/scale")
    scale = np.ones(axes.shape[1], np.float32) if stored is None else stored.numpy()
    return Projection(mean, axes, scale, roots=preset.graph.space == "rooted")


def new_model(preset: Preset, config: dict[str, Any]) -> GraphModel:
    """An untrained model of the preset's kind."""
    if preset.model == "kernel":
        return KernelSage(KernelSageConfig(**config))
    if preset.model == "rise":
        return RiseSage(RiseConfig(**config))
    return HeteroSage(SageConfig(**config))


def config_of(model: GraphModel) -> dict[str, Any]:
    """The sizes and numbers from which `new_model` makes the same model."""
    if isinstance(model, KernelSage | HeteroSage | RiseSage):
        return model.config.to_dict()
    raise TypeError(f"a {type(model).__name__} cannot be stored")


def model_checksum(directory: Path) -> str:
    """SHA-256 of the model file."""
    return sha256_of_file(directory / MODEL)


def tag_numbers(model: TrainedModel, names: tuple[str, ...]) -> Int64Array:
    """[len(names)] int64: the model's number of each tag, -1 for one that training has not seen."""
    known = {name: number for number, name in enumerate(model.tag_names)}
    return np.array([known.get(name, -1) for name in names], dtype=np.int64)
