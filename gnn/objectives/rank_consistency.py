"""Rank consistency: the order of scores should be the order of label similarities."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def rank_consistency(scores: Tensor, relevance: Tensor, temperature: float, sharpness: float) -> Tensor:
    """Cross-entropy of two distributions over each list: softmax(relevance · sharpness), which is wanted, and
    softmax(scores / temperature).

    ListNet's top-one form (Cao et al. 2007, Eq. 5) of the rank-list loss of Ma, Lu and Zhou 2020. scores,
    relevance: [n, m], relevance the Jaccard similarity of tag sets. Lists in which nothing is relevant do not
    count. Mean over the others; zero, with a gradient of zero, where there are none.
    """
    wanted = functional.softmax(relevance * sharpness, dim=1)
    found = functional.log_softmax(scores / temperature, dim=1)
    counts = (relevance > 0).any(dim=1).to(scores.dtype)
    result: Tensor = -((wanted * found).sum(dim=1) * counts).sum() / counts.sum().clamp_min(1)
    return result
