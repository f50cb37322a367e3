"""What tags are likely, where the vocabulary is compressed: probabilities in place of expectations.

A ridge regression says how much of each tag is expected, with the same trust in all of them. Many tags of a
long tail cannot be seen at all, and what it says of these is noise, small for each and large for a thousand
together. So the commonest tags are each given slopes of their own, as :mod:`gnn.model.tag_namer` gives them
to small vocabularies, and what the readout expected of them gives way to their probabilities:

    s' = s + Σ_t (p_t - s·e_t) e_t,   p_t = σ(b_t + a_t s·e_t + c_t vote·e_t)

with s the expectation and `vote` the neighbours' vote, both in the coordinates of the tags' vectors e_t.

Neither reading ranks best alone: probabilities are sharp where a tag can be seen, expectations hold a little
of everything. Their directions are added up, s' at SHARE of the length of s (decision 0014).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHARE = 0.7
_NONE = 1e-12


def both_readings(expected: Tensor, likely: Tensor) -> Tensor:
    """s + SHARE·‖s‖/‖s'‖·s', [n, width]. expected: s; likely: s'."""
    lengths = torch.linalg.vector_norm(expected, dim=1, keepdim=True)
    of_likely = torch.linalg.vector_norm(likely, dim=1, keepdim=True).clamp_min_(_NONE)
    return torch.addcmul(expected, likely, lengths.div_(of_likely), value=SHARE)


class LikelyTags(nn.Module):
    """s' of this module's docstring. All parameters are buffers, set by :mod:`gnn.naming_fit`."""

    def __init__(self, width: int, tags: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(tags, width))
        self.register_buffer("slopes", torch.zeros(2, tags))
        self.register_buffer("slopes_bias", torch.zeros(tags))

    def forward(self, expected: Tensor, votes: Tensor) -> Tensor:
        """expected s, votes: [n, width] → [n, width]."""
        vectors, slopes = self.get_buffer("vectors"), self.get_buffer("slopes")
        of_expected, of_votes = torch.split(torch.cat([expected, votes]) @ vectors.T, len(expected))
        logits = of_votes.mul_(slopes[1]).addcmul_(of_expected, slopes[0])
        logits.add_(self.get_buffer("slopes_bias"))
        result: Tensor = torch.addmm(expected, logits.sigmoid_().sub_(of_expected), vectors)
        return result
