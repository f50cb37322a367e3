"""Where an encoder runs."""

from __future__ import annotations

from pathlib import Path

from graph_store.errors import BadInput, UnknownName

_DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-ctrl")


def resolve_device(device: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` → `cpu` or `cuda[:N]`.

    Raises UnknownName for any other word, and BadInput when CUDA is asked for and absent. Without an NVIDIA
    driver torch is not imported: that alone takes seconds.
    """
    if device == "cpu":
        return "cpu"
    if device != "auto" and device.partition(":")[0] != "cuda":
        raise UnknownName(f"There is no device {device!r}", hint="Known: auto, cpu, cuda, cuda:N.")
    if cuda_present():
        return "cuda" if device == "auto" else device
    if device == "auto":
        return "cpu"
    raise BadInput(f"The device {device!r} was asked for, but there is no CUDA here", hint="Use auto or cpu.")


def cuda_present() -> bool:
    """Whether PyTorch can use a CUDA device on this machine."""
    if not any(Path(file).exists() for file in _DRIVER_FILES):
        return False
    import torch

    return torch.cuda.is_available()
