"""One-file training checkpoints: tensors as safetensors, everything else as JSON in the same file's header.

A single file means that a kill can never leave new weights beside an old step counter. Nothing is pickled,
so a checkpoint from a stranger cannot run code. The header also holds a SHA-256 of everything else, since the
format itself does not notice a flipped bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from graph_store.durable import write_bytes
from graph_store.errors import CorruptFile

_CHECKED, _UNCHECKED = "sha256+meta", "meta"
"""The one key of a header: more than one would come in an order of their own in every file."""

_HEX_DIGITS = 64


class Checkpoint(NamedTuple):
    """``tensors`` by name, all on the CPU; ``meta`` is plain JSON."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Replace ``path`` durably and in one step. A full disk or read-only directory raises Unwritable."""
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    told = json.dumps(meta)
    write_bytes(path, save(plain, metadata={_CHECKED: _digest(plain, told) + told}))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote. A damaged file raises CorruptFile with its name."""
    try:
        with safe_open(path, framework="pt", device="cpu") as handle:
            header = handle.metadata() or {}
            names = handle.keys()
            tensors = {name: handle.get_tensor(name) for name in names}
        if _UNCHECKED in header:  # of an older imsage
            meta = json.loads(header[_UNCHECKED])
        else:
            digest, told = header[_CHECKED][:_HEX_DIGITS], header[_CHECKED][_HEX_DIGITS:]
            if digest != _digest(tensors, told):
                raise ValueError("it has been altered: its SHA-256 is not the recorded one")
            meta = json.loads(told)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CorruptFile(f"{path.name} is not a readable checkpoint: {error}", path=path) from error
    return Checkpoint(tensors, meta)


def _digest(tensors: Mapping[str, Tensor], meta: str) -> str:
    digest = hashlib.sha256(meta.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names a → prefix + a."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts with prefix, under the rest of their name."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def optimizer_tensors(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split ``Optimizer.state_dict()`` into tensors (``<parameter>.<slot>``) and JSON (the rest)."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for parameter, slots in state["state"].items():
        for slot, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}.{slot}"] = value
            else:
                rest.setdefault(str(parameter), {})[slot] = value
    return tensors, {"param_groups": state["param_groups"], "slots": rest}


def optimizer_state(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`optimizer_tensors`."""
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        parameter, slot = name.split(".", 1)
        state.setdefault(int(parameter), {})[slot] = tensor
    for parameter, slots in plain["slots"].items():
        state.setdefault(int(parameter), {}).update(slots)
    return {"state": state, "param_groups": plain["param_groups"]}


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's generators that training on ``device`` draws from (dropout)."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """The inverse of :func:`random_state`; a state of an absent device is left out."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
