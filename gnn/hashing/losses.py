"""What makes codes good, each as a scalar. q queries, n items of the index, k bits, t tags.

Codes here are soft, tanh(head) in (-1, 1): of two codes b and c the inner product b·c is k less twice the
soft Hamming distance, so an order by falling inner product is one by rising distance. The parts and their
purpose are those of Ma, Lu and Zhou, *Rank-consistency deep hashing for scalable multi-label image search*
(TMM 2020): consistent ranks, label classification, clusters around label centres.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rank_list_loss(
    queries: Tensor, items: Tensor, relevance: Tensor, own: Tensor, temperature: float
) -> Tensor:
    """-Σ_n P(n) log Q(n), P = softmax(relevance / T), Q = softmax(queries · items / (k T)); mean of queries.

    Zero gradient where the order of Hamming distances follows that of label similarity: the list-wise
    cross-entropy of ListNet (Cao et al. 2007) between the two orders. queries: [q, k]; items: [n, k];
    relevance: [q, n] how alike they are, 1 at most; own: [q, n] bool, an item that is the query itself and
    does not count.
    """
    nearness = queries @ items.T / queries.shape[1] / temperature
    wanted = torch.softmax((relevance / temperature).masked_fill(own, -torch.inf), dim=1)
    found = torch.log_softmax(nearness.masked_fill(own, -torch.inf), dim=1).masked_fill(own, 0.0)
    return -(wanted * found).sum(dim=1).mean()


def label_loss(logits: Tensor, tags: Tensor) -> Tensor:
    """-Σ_t y_t / |y| · log softmax(logits)_t: cross-entropy with the true tags as equal shares.

    Keeps in the code what tells tags apart, one by one, where a rank list sees only how many are shared.
    logits: [n, t]; tags: [n, t] 0/1. Mean over the images that have a tag; zero when none has.
    """
    sizes = tags.sum(dim=1, keepdim=True)
    shares = tags / sizes.clamp_min(1.0)
    each = -(shares * torch.log_softmax(logits, dim=1)).sum(dim=1)
    return each.sum() / (sizes > 0).sum().clamp_min(1)


def centre_loss(codes: Tensor, tags: Tensor, centres: Tensor) -> Tensor:
    """|b - tanh(mean of the centres of its tags)|² / k: codes of one tag set gather around one point.

    codes: [n, k]; tags: [n, t] 0/1; centres: [t, k], learnt. Mean over the images that have a tag; zero when
    none has.
    """
    sizes = tags.sum(dim=1, keepdim=True)
    middle = torch.tanh(tags @ centres / sizes.clamp_min(1.0))
    each = (codes - middle).square().mean(dim=1) * (sizes[:, 0] > 0)
    return each.sum() / (sizes > 0).sum().clamp_min(1)


def quantisation_loss(codes: Tensor) -> Tensor:
    """(|b| - 1)²: soft bits near -1 or 1, so that taking the sign changes little. Mean over [n, k]."""
    return (codes.abs() - 1.0).square().mean()


def balance_loss(codes: Tensor) -> Tensor:
    """(mean over images of b)²: each bit divides the index in halves and so says most. codes: [n, k]."""
    return codes.mean(dim=0).square().mean()
