"""The part of the default model that names tags: probabilities out of looks, vote and prediction.

Two readings of an image, averaged as logits:

* a perceptron on what the image looks like and its neighbours' vote, trained by cross-entropy. Squared error,
  which the kernel readout is solved by, hardly sees whether a rare tag has a chance of 1 % or 4 %;
* the readout's own expectation s and the vote, each tag with a slope of its own: b_t + a_t·s_t + c_t·vote_t.
  So a tag whose expectation is mostly noise is heard less.

    p = σ( share · W₂ h + (1 - share) · (b + a ∘ s + c ∘ vote) ),   h = relu(W₁ [u, vote] + b₁)

Several perceptrons of one hidden layer, averaged as logits, are one wide perceptron, and standardising the
inputs is folded into W₁; so naming costs two small matrix products. They may have a second hidden
layer (:mod:`gnn.naming_recipes`), in which each hears itself alone: h' = relu(diag(V₁, V₂, …) h + d).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TagNamer(nn.Module):
    """p of this module's docstring. All parameters are buffers, set by :mod:`gnn.naming_fit`.

    hidden: units a layer of all perceptrons together; deep: how many perceptrons have a second hidden layer,
    all of them or none.
    """

    def __init__(self, width: int, tags: int, hidden: int, deep: int = 0) -> None:
        super().__init__()
        self.deep = deep
        self.register_buffer("inner", torch.zeros(width + tags, hidden))
        self.register_buffer("inner_bias", torch.zeros(hidden))
        if deep:
            self.register_buffer("second", torch.zeros(deep, hidden // deep, hidden // deep))
            self.register_buffer("second_bias", torch.zeros(hidden))
        self.register_buffer("outer", torch.zeros(hidden, tags))
        self.register_buffer("outer_bias", torch.zeros(tags))
        self.register_buffer("slopes", torch.zeros(2, tags))
        self.register_buffer("slopes_bias", torch.zeros(tags))

    def forward(self, looks: Tensor, votes: Tensor, expected: Tensor, share: float) -> Tensor:
        """looks u: [n, width]; votes, expected s: [n, tags] → [n, tags] in (0, 1)."""
        logits = torch.zeros_like(votes)
        if share > 0:
            logits += share * self.perceptron(looks, votes)
        if share < 1:
            logits += (1 - share) * self.calibrated(votes, expected)
        return torch.sigmoid(logits)

    def perceptron(self, looks: Tensor, votes: Tensor) -> Tensor:
        """Logits [n, tags]."""
        inner = self.get_buffer("inner")
        width = looks.shape[1]
        hidden = torch.addmm(self.get_buffer("inner_bias"), looks, inner[:width]) + votes @ inner[width:]
        hidden = self._second(hidden.relu_()) if self.deep else hidden.relu_()
        logits: Tensor = torch.addmm(self.get_buffer("outer_bias"), hidden, self.get_buffer("outer"))
        return logits

    def _second(self, hidden: Tensor) -> Tensor:
        """h' [n, hidden] of h [n, hidden]."""
        each = hidden.reshape(len(hidden), self.deep, -1).transpose(0, 1) @ self.get_buffer("second")
        return (each.transpose(0, 1).reshape(hidden.shape) + self.get_buffer("second_bias")).relu_()

    def calibrated(self, votes: Tensor, expected: Tensor) -> Tensor:
        """Logits [n, tags]."""
        slopes = self.get_buffer("slopes")
        logits: Tensor = self.get_buffer("slopes_bias") + slopes[0] * expected + slopes[1] * votes
        return logits
