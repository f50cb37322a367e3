"""Losses over pairs of embeddings. p pairs, q negatives, d dimensions; each returns a scalar."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def random_walk_loss(
    source: Tensor,
    target: Tensor,
    negatives: Tensor,
    hits: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """-log s(z_u·z_v / T) - Q · E_n log s(-z_u·z_n / T), s the sigmoid, Q the number of negatives.

    Eq. 1 of Hamilton et al. 2017. source, target: [p, d]; negatives: [q, d], shared by all pairs, or
    [p, q, d]; hits: [p, q] bool, negatives that do not count (the expectation is over the others; a pair with
    none left has its positive term only). Mean over pairs; zero, with a gradient of zero, for no pairs.
    """
    positive = functional.logsigmoid((source * target).sum(dim=1) / temperature)
    logits = _against(source, negatives) / temperature
    repelled = functional.logsigmoid(-logits)
    count = logits.shape[1]
    kept = torch.ones_like(logits) if hits is None else (~hits).to(logits.dtype)
    expectation = (repelled * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
    return -(positive + count * expectation).sum() / max(len(source), 1)


def sampled_softmax(
    source: Tensor,
    target: Tensor,
    negatives: Tensor,
    target_log_q: Tensor,
    negative_log_q: Tensor,
    hits: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Cross-entropy of the target among itself and the negatives, logits corrected by -log Q.

    Subtracting the log of each candidate's expected count makes the loss an estimate of the full softmax
    (Bengio and Senécal 2008; Jean et al. 2015, Eq. 8). source, target: [p, d]; negatives: [q, d] or [p, q,
    d]; target_log_q: [p]; negative_log_q: [q] or [p, q]; hits: [p, q] bool, negatives that do not count.
    Mean over pairs; zero, with a gradient of zero, for no pairs.
    """
    positive = (source * target).sum(dim=1) / temperature - target_log_q
    logits = _against(source, negatives) / temperature - negative_log_q
    if hits is not None:
        logits = logits.masked_fill(hits, -torch.inf)
    total = torch.logsumexp(torch.cat([positive.unsqueeze(1), logits], dim=1), dim=1)
    return (total - positive).sum() / max(len(source), 1)


def _against(source: Tensor, negatives: Tensor) -> Tensor:
    """[p, d] and [q, d] or [p, q, d] → inner products [p, q]."""
    if negatives.dim() == 2:
        return source @ negatives.T
    return torch.einsum("pd,pqd->pq", source, negatives)
