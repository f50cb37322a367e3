"""Any open_clip model: pictures and text in one space, with weights from the hub or from a local checkpoint.

Names: `open_clip:MODEL/PRETRAINED` (a tag that open_clip knows), `open_clip:hf-hub:ORG/REPO`, or
`open_clip:MODEL@PATH`, where PATH is a checkpoint file, or a folder with `open_clip_config.json` and weights.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gnn.encoders.base import EncoderSpec
from gnn.encoders.device import resolve_device
from graph_store.arrays import AnyArray, Float32Array
from graph_store.checksums import sha256_of_file
from graph_store.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from PIL.Image import Image

PREFIX = "open_clip:"
_HUB_SCHEMA = "hf-hub:"
_FORMS = "Write open_clip:MODEL/PRETRAINED or open_clip:MODEL@PATH."
_PIECE = 64
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".json")


@dataclass(frozen=True)
class _Source:
    """What to hand to open_clip, and the files that decide what comes out."""

    name: str
    model: str
    pretrained: str | None
    files: tuple[Path, ...]


class OpenClip:
    """ImageEncoder and TextEncoder at once: both sides give vectors of one space."""

    def __init__(self, name: str, *, device: str = "auto") -> None:
        import open_clip.transform

        source = _find(name)
        self._device = resolve_device(device)
        try:
            model = open_clip.create_model(
                source.model, pretrained=source.pretrained, device=self._device, require_pretrained=True
            )
            self._tokenize = open_clip.get_tokenizer(source.model)
        except Exception as error:
            # open_clip, torch, safetensors and the hub each raise errors of their own kind here, and all of
            # them mean the same to the user: these weights cannot be used.
            raise BadInput(
                f"The encoder {name!r} cannot be loaded: {error}", hint=_local_hint(name)
            ) from error
        self._model = model.eval()
        settings = open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg)
        self._transform = open_clip.transform.image_transform_v2(settings, is_train=False)
        self._tokenizer_lock = threading.Lock()
        self.spec = EncoderSpec(
            name=source.name,
            weights_sha256=_digest(source.files),
            dim=self._dimension(),
            preprocessing=json.dumps(model.visual.preprocess_cfg, sort_keys=True),
        )

    def preprocess(self, image: Image) -> Float32Array:
        """RGB picture → float32 [3, h, w], resized and normalised as the model asks."""
        return np.asarray(self._transform(image).numpy(), dtype=np.float32)

    def encode(self, batch: AnyArray) -> Float32Array:
        """float32 [n, 3, h, w] → [n, dim] float32, unit norm."""
        import torch

        pixels = torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32))
        return self._in_pieces(self._model.encode_image, pixels)

    def encode_text(self, texts: Sequence[str]) -> Float32Array:
        """n texts → [n, dim] float32, unit norm, in the space of the pictures."""
        if not texts:
            return np.zeros((0, self.spec.dim), dtype=np.float32)
        # Tokenizers of the transformers library must not be used by two threads at once.
        with self._tokenizer_lock:
            tokens = self._tokenize(list(texts))
        return self._in_pieces(self._model.encode_text, tokens)

    def _in_pieces(self, encode: Any, inputs: Any) -> Float32Array:
        import torch

        rows = [np.zeros((0, self.spec.dim), dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(inputs), _PIECE):
                vectors = encode(inputs[start : start + _PIECE].to(self._device), normalize=True)
                rows.append(vectors.float().cpu().numpy())
        return np.concatenate(rows)

    def _dimension(self) -> int:
        import torch

        with torch.inference_mode():
            return int(self._model.encode_text(self._tokenize(["a"]).to(self._device)).shape[-1])


def _find(name: str) -> _Source:
    """What `name` stands for. Raises UnknownName, or BadInput when its weights cannot be had."""
    rest = name.removeprefix(PREFIX)
    model, at, place = rest.partition("@")
    if at:
        return _local(model, Path(place).expanduser().resolve())
    if rest.startswith(_HUB_SCHEMA):
        return _Source(name, rest, None, (_fetch_repository(name, rest.removeprefix(_HUB_SCHEMA)),))
    model, slash, tag = rest.partition("/")
    if not (model and slash and tag):
        raise UnknownName(f"{name!r} does not name an open_clip model and its weights", hint=_FORMS)
    return _Source(name, model, tag, (_fetch_tag(name, model, tag),))


def _local(model: str, place: Path) -> _Source:
    name = f"{PREFIX}{model}@{place}"
    if place.is_dir():
        files = tuple(sorted(file for file in place.iterdir() if file.suffix in _WEIGHT_SUFFIXES))
        return _Source(name, f"local-dir:{place}", None, files)
    _check_model(name, model)
    if not place.is_file():
        raise BadInput(f"There is no checkpoint {place}", hint=_FORMS)
    return _Source(name, model, str(place), (place,))


def _check_model(name: str, model: str) -> None:
    import open_clip

    known = open_clip.list_models()
    if model not in known:
        near = ", ".join(difflib.get_close_matches(model, known, n=5, cutoff=0.3)) or ", ".join(known[:5])
        raise UnknownName(f"{name!r}: open_clip has no model {model!r}", hint=f"Near: {near}. {_FORMS}")


def _fetch_tag(name: str, model: str, tag: str) -> Path:
    from open_clip import pretrained

    _check_model(name, model)
    settings = pretrained.get_pretrained_cfg(model, tag)
    if not settings:
        tags = ", ".join(pretrained.list_pretrained_tags_by_model(model)) or "none"
        raise UnknownName(f"{name!r}: {model!r} has no weights {tag!r}", hint=f"Known: {tags}. {_FORMS}")
    try:
        return Path(pretrained.download_pretrained(settings))
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        raise _unreachable(name, error) from error


def _fetch_repository(name: str, repository: str) -> Path:
    from open_clip import pretrained

    try:
        return Path(pretrained.download_pretrained_from_hf(repository))
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        raise _unreachable(name, error) from error


def _unreachable(name: str, error: Exception) -> BadInput:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return BadInput(f"The weights of {name!r} could not be fetched: {reason}", hint=_local_hint(name))


def _local_hint(name: str) -> str:
    model = name.removeprefix(PREFIX).partition("@")[0].removeprefix(_HUB_SCHEMA).partition("/")[0]
    return f"Without the hub, name a local checkpoint: open_clip:{model}@/path/to/checkpoint.safetensors"


def _digest(files: tuple[Path, ...]) -> str:
    """The SHA-256 of the file, or of the digests of all files of a folder."""
    digests = [sha256_of_file(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
