"""The model of preset `graph-rise`: a perceptron with messages, two layers deep, made to classify.

With p(x) the whitened principal components of the rooted features, e_t a learnt vector of each tag, and
messages s (over `similar` images) and t (over tags),

    h^1_i = relu(W_own p_i + W_s s + W_t t + b)          h^2_i = W'_own h^1_i + W'_s s' + W'_t t' + b'

and a tag likewise from its images and related tags. Without its messages this is a perceptron with one
hidden layer; the messages of layer 2 carry the neighbours' tags. An embedding has two blocks, [unit(p),
unit(h^2)]: the first is for looks alone, the second, φ of the objective, is learnt; a tag's first is zero.

**Attention** (``heads`` > 0). A sender j speaks with a gate g_j = exp(c_j), one for each slice of its state,
learnt from that state, so that a neighbour weighs

    α_ij = a_ij exp(c_j) / Σ_k a_ik exp(c_k)

which is the softmax over the neighbourhood of log a_ij + c_j: attention (Bahdanau et al. 2015) whose part in
the pair is the likeness behind a_ij. States are kept as [g ⊙ h, g]: their weighted mean is numerator and
denominator at once, so attachment and layer-wise embedding need not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from gnn.model.base import GraphModel
from gnn.model.dropout import FastDropout
from gnn.model.kernels import rooted
from graph_store.errors import BadInput

_FAINTEST = 1e-12


@dataclass(frozen=True)
class RiseConfig:
    """``width``: principal components that enter; ``hidden``, ``dim``: widths of h^1 and h^2. Where ``heads``
    is not 0, it divides ``width``, ``hidden`` and ``tag_dim``.
    """

    feature_dim: int
    width: int
    num_tags: int
    tag_dim: int = 128
    hidden: int = 512
    dim: int = 256
    heads: int = 0
    input_dropout: float = 0.3
    dropout: float = 0.5

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; ``RiseConfig(**d)`` is the inverse."""
        return asdict(self)


class Gate(nn.Module):
    """h [n, width] → [g ⊙ h, g] [n, width + heads], a gate for each of `heads` slices; and back."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise BadInput(f"{heads} heads do not divide {width} numbers evenly", hint="Take 1, 2, 4 or 8.")
        self.width, self.heads = width, heads
        self.score = nn.Linear(width, heads)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, h: Tensor) -> Tensor:
        gates = torch.exp(3.0 * torch.tanh(self.score(h)))
        return torch.cat([self._slices(h, gates), gates], dim=1)

    def open(self, gated: Tensor) -> Tensor:
        """A state, or a weighted mean of states: the state or the attention-weighted mean; zero for zero."""
        gates = gated[:, self.width :]
        return self._slices(gated[:, : self.width], 1.0 / gates.clamp_min(_FAINTEST))

    def _slices(self, h: Tensor, factors: Tensor) -> Tensor:
        cut = h.reshape(len(h), self.heads, self.width // self.heads) * factors.unsqueeze(2)
        return cut.reshape(len(h), self.width)


class Ungated(nn.Module):
    """States as they are: a plain weighted mean."""

    heads = 0

    def forward(self, h: Tensor) -> Tensor:
        return h

    def open(self, gated: Tensor) -> Tensor:
        """The same."""
        return gated


class RiseLayer(nn.Module):
    """W_own own + W_first first + W_second second + b. widths: (own, first, second, result)."""

    def __init__(self, widths: tuple[int, int, int, int], dropout: float, last: bool) -> None:
        super().__init__()
        self.own = nn.Linear(widths[0], widths[3])
        self.first = nn.Linear(widths[1], widths[3], bias=False)
        self.second = nn.Linear(widths[2], widths[3], bias=False)
        self.dropout = FastDropout(dropout)
        self.last = last

    def forward(self, own: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """[n, width] each → [n, result]."""
        drop = self.dropout
        result: Tensor = self.own(drop(own)) + self.first(drop(first)) + self.second(drop(second))
        return result if self.last else functional.relu(result)


class RiseSage(GraphModel):
    """This module's formula. ``mean`` and ``axes`` are fitted to the catalogue, not learnt."""

    num_layers = 2

    def __init__(self, config: RiseConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.width + config.dim
        self.register_buffer("mean", torch.zeros(config.feature_dim))
        self.register_buffer("axes", torch.zeros(config.feature_dim, config.width))
        self.tag_table = nn.Embedding(max(config.num_tags, 1), config.tag_dim)
        nn.init.normal_(self.tag_table.weight)
        image, tag = (config.width, config.hidden, config.dim), (config.tag_dim, config.hidden, config.dim)
        self.image_gates = nn.ModuleList(_gate(width, config.heads) for width in image[:2])
        self.tag_gates = nn.ModuleList(_gate(width, config.heads) for width in tag[:2])
        self.image_layers = nn.ModuleList(
            RiseLayer((image[i], image[i], tag[i], image[i + 1]), self._dropout(i), i == 1) for i in (0, 1)
        )
        self.tag_layers = nn.ModuleList(
            RiseLayer((tag[i], image[i], tag[i], tag[i + 1]), self._dropout(i), i == 1) for i in (0, 1)
        )

        for layer in self.tag_layers:
            # Tags begin apart: what their images have in common would make them all alike.
            assert isinstance(layer, RiseLayer)
            nn.init.zeros_(layer.first.weight)

    def _dropout(self, layer: int) -> float:
        return self.config.dropout if layer else self.config.input_dropout

    def image_dim(self, layer: int) -> int:
        heads = self.config.heads if layer < self.num_layers else 0
        return (self.config.width, self.config.hidden, self.config.dim)[layer] + heads

    def tag_dim(self, layer: int) -> int:
        heads = self.config.heads if layer < self.num_layers else 0
        return (self.config.tag_dim, self.config.hidden, self.config.dim)[layer] + heads

    def input_images(self, x: Tensor) -> Tensor:
        result: Tensor = self.image_gates[0]((rooted(x) - self.get_buffer("mean")) @ self.get_buffer("axes"))
        return result

    def input_tags(self, text: Tensor, ids: Tensor) -> Tensor:
        """An unseen tag (id -1) starts at zero: its images and related tags speak for it."""
        del text
        known = (ids >= 0).unsqueeze(1)
        result: Tensor = self.tag_gates[0](self.tag_table(ids.clamp(min=0)) * known)
        return result

    def image_layer(self, layer: int, own: Tensor, similar: Tensor, tags: Tensor) -> Tensor:
        images, senders = self._gate(self.image_gates, layer - 1), self._gate(self.tag_gates, layer - 1)
        step = self.image_layers[layer - 1]
        state: Tensor = step(images.open(own), images.open(similar), senders.open(tags))
        return state if layer == self.num_layers else self._gate(self.image_gates, layer).forward(state)

    def tag_layer(self, layer: int, own: Tensor, images: Tensor, related: Tensor) -> Tensor:
        tags, senders = self._gate(self.tag_gates, layer - 1), self._gate(self.image_gates, layer - 1)
        state: Tensor = self.tag_layers[layer - 1](tags.open(own), senders.open(images), tags.open(related))
        return state if layer == self.num_layers else self._gate(self.tag_gates, layer).forward(state)

    def embed_images(self, states: Sequence[Tensor]) -> Tensor:
        looks = functional.normalize(self._gate(self.image_gates, 0).open(states[0]), dim=1)
        return torch.cat([looks, self.meaning(states)], dim=1)

    def embed_tags(self, states: Sequence[Tensor]) -> Tensor:
        looks = states[-1].new_zeros(len(states[-1]), self.config.width)
        return torch.cat([looks, self.meaning(states)], dim=1)

    def meaning(self, states: Sequence[Tensor]) -> Tensor:
        """φ of images or of tags: [n, config.dim], unit norm."""
        return functional.normalize(states[-1], dim=1)

    @staticmethod
    def _gate(gates: nn.ModuleList, layer: int) -> Gate | Ungated:
        gate = gates[layer]
        assert isinstance(gate, Gate | Ungated)
        return gate


def _gate(width: int, heads: int) -> Gate | Ungated:
    return Gate(width, heads) if heads else Ungated()
