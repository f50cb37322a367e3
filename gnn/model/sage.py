"""Heterogeneous GraphSAGE with mean aggregation, in the form that trains and serves.

For an image q at layer l, with messages s (mean over its `similar` images) and t (mean over its tags):

    concat:  h^l = f([ W_own h^(l-1) | W_s s + W_t t ] + b)      width 2 x hidden
    sum:     h^l = f(  W_own h^(l-1) + W_s s + W_t t   + b)      width hidden

and the same for a tag with messages from its images and its related tags. f is ReLU, except at the last layer
where it is the identity; dropout falls on every input of a layer; the embedding is h^L scaled to unit norm.
This is Hamilton et al. 2017, Algorithm 1 with the mean aggregator in its concatenating form, one weight
matrix per relation as in Schlichtkrull et al. 2018. Images enter as their raw features; a tag enters as a
learnt random vector plus, when ``text_dim`` is not 0, a projection of its text features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnn.model.base import GraphModel
from gnn.model.dropout import FastDropout


@dataclass(frozen=True)
class SageConfig:
    """``feature_dim``: width of image features; ``text_dim``: width of tag text features, 0 = ids only.

    ``tag_dim`` is the width of a tag's learnt input vector. ``hidden`` is the width of each weight matrix's
    output, so ``concat`` embeds into 2 x hidden.
    """

    feature_dim: int
    text_dim: int
    num_tags: int
    tag_dim: int = 128
    hidden: int = 128
    num_layers: int = 2
    combine: Literal["concat", "sum"] = "concat"
    dropout: float = 0.2

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; ``SageConfig(**d)`` is the inverse."""
        return asdict(self)


class NodeLayer(nn.Module):
    """One layer of one node type: its own state and two messages → its next state.

    widths: (own, first message, second message). Each message has its own matrix without bias, so an empty
    neighbourhood adds exactly nothing.
    """

    def __init__(self, widths: tuple[int, int, int], config: SageConfig, last: bool) -> None:
        super().__init__()
        self.own = nn.Linear(widths[0], config.hidden, bias=False)
        self.first = nn.Linear(widths[1], config.hidden, bias=False)
        self.second = nn.Linear(widths[2], config.hidden, bias=False)
        self.concat = config.combine == "concat"
        self.bias = nn.Parameter(torch.zeros(config.hidden * (2 if self.concat else 1)))
        self.dropout = FastDropout(config.dropout)
        self.last = last

    def forward(self, own: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """[n, width] each → [n, hidden or 2 x hidden]."""
        mine = self.own(self.dropout(own))
        messages = self.first(self.dropout(first)) + self.second(self.dropout(second))
        joined = torch.cat([mine, messages], dim=1) if self.concat else mine + messages
        result: Tensor = joined + self.bias
        return result if self.last else functional.relu(result)


class HeteroSage(GraphModel):
    """The formula of this module's docstring. Preset `paper`: 2 layers of 128, concat → 256 dimensions."""

    images_enter_raw = True

    def __init__(self, config: SageConfig) -> None:
        super().__init__()
        self.config = config
        self.num_layers = config.num_layers
        self._out = config.hidden * (2 if config.combine == "concat" else 1)
        self.dim = self._out
        self.tag_table = nn.Embedding(max(config.num_tags, 1), config.tag_dim)
        nn.init.normal_(self.tag_table.weight, std=config.tag_dim**-0.5)
        self.tag_text = nn.Linear(config.text_dim, config.tag_dim, bias=False) if config.text_dim else None
        self.image_layers = nn.ModuleList(self._layers(images=True))
        self.tag_layers = nn.ModuleList(self._layers(images=False))

    def _layers(self, images: bool) -> list[NodeLayer]:
        layers = []
        for layer in range(1, self.num_layers + 1):
            image, tag = self.image_dim(layer - 1), self.tag_dim(layer - 1)
            widths = (image, image, tag) if images else (tag, image, tag)
            layers.append(NodeLayer(widths, self.config, last=layer == self.num_layers))
        return layers

    def image_dim(self, layer: int) -> int:
        return self.config.feature_dim if layer == 0 else self._out

    def tag_dim(self, layer: int) -> int:
        return self.config.tag_dim if layer == 0 else self._out

    def input_images(self, x: Tensor) -> Tensor:
        return x

    def input_tags(self, text: Tensor, ids: Tensor) -> Tensor:
        known = (ids >= 0).unsqueeze(1)
        learnt = self.tag_table(ids.clamp(min=0)) * known
        result: Tensor = learnt if self.tag_text is None else learnt + self.tag_text(text)
        return result

    def image_layer(self, layer: int, own: Tensor, similar: Tensor, tags: Tensor) -> Tensor:
        result: Tensor = self.image_layers[layer - 1](own, similar, tags)
        return result

    def tag_layer(self, layer: int, own: Tensor, images: Tensor, related: Tensor) -> Tensor:
        result: Tensor = self.tag_layers[layer - 1](own, images, related)
        return result

    def embed_images(self, states: Sequence[Tensor]) -> Tensor:
        return functional.normalize(states[-1], dim=1)

    def embed_tags(self, states: Sequence[Tensor]) -> Tensor:
        return functional.normalize(states[-1], dim=1)
