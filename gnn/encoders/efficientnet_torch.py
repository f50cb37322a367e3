"""EfficientNet-lite0 in PyTorch: the reference, the source of the ONNX graph, and the path for CUDA."""

from __future__ import annotations

from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn


class LiteFeatures(nn.Module):
    """uint8 [n, 3, 224, 224] RGB → float32 [n, 1280], unit norm.

    The mean of the last feature map over its 49 places, scaled to length 1. Pixels become (x - 127) / 128,
    as the Lite models were trained.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        maps = self.net.extract_features((pixels.float() - 127.0) / 128.0)  # type: ignore[operator]  # untyped
        return nn.functional.normalize(maps.mean(dim=(2, 3)), dim=1)


def load_lite0(weights: Path) -> LiteFeatures:
    """The network with the packaged weights, in eval mode. Loading executes no pickled code."""
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return LiteFeatures(net).eval()
