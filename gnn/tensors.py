"""From NumPy arrays, which may be read-only memory maps, to tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from graph_store.arrays import AnyArray


def to_tensor(array: AnyArray, device: torch.device | str = "cpu") -> Tensor:
    """The array as a tensor on ``device``: without a copy where that is safe, a copy of a read-only array.

    Torch has no read-only tensors; writing into one that shares a read-only map would kill the process.
    """
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
