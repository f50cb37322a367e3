"""Dropout whose mask is cheap on a CPU.

Torch draws one random number an element from a serial Mersenne twister: on raw features that alone took two
thirds of a training step. Here one 64-bit number of NumPy's SFC64 serves four elements, 16 bits each. The
rate is therefore rounded to the nearest 1/65536. The generator is seeded from torch's, so a run is still
fixed by ``torch.manual_seed`` and by the generator state in a checkpoint. Other devices use torch's own
dropout.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 2**16


class FastDropout(nn.Module):
    """Zeroes elements with probability ``rate`` while training and scales the rest by 1/(1 - rate)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"the dropout rate must lie in [0, 1), not {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same shape."""
        if not self.training or self.rate == 0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.rate)
        return x * scaled_mask(x.shape, round(self.rate * _LEVELS)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def scaled_mask(shape: torch.Size, dropped: int) -> Tensor:
    """Float32 zeros with probability ``dropped`` / 65536, independently; elsewhere the scale that keeps the
    mean at 1.
    """
    seed = int(torch.randint(2**62, (1,)))
    count = shape.numel()
    words = np.atleast_1d(np.random.SFC64(seed).random_raw(-(-count // 4)))
    kept = words.view(np.uint16)[:count] >= dropped
    scale = np.float32(_LEVELS / (_LEVELS - dropped))
    return torch.from_numpy(np.multiply(kept, scale, dtype=np.float32)).view(shape)
