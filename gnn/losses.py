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
    sources: Tensor,
    candidates: Tensor,
    log_q: Tensor,
    rows: Tensor,
    columns: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """Cross-entropy of each target among itself and the candidates that are no target of its source.

        -1/p Σ_(i, t) log [ e^s_it / (e^s_it + Σ_(j not a target of i) e^s_ij) ],   s = x·c / T - log q

    Subtracting the log of each candidate's chance to be one makes the loss an estimate of the full softmax
    (Bengio and Senécal 2008; Jean et al. 2015, Eq. 8). sources: [n, d]; candidates: [c, d]; log_q: [c]; rows,
    columns: [p], the source and the candidate of each pair. Mean over pairs; zero, with a gradient of zero,
    for no pairs. The sum over j is one for all targets of a source: nothing larger than [n, c] is made.
    """
    logits = sources @ candidates.T / temperature - log_q
    positive = logits[rows, columns]
    # The lowest number, and not -inf: where all candidates are targets its gradient is a number too.
    nothing = logits.new_tensor(torch.finfo(logits.dtype).min)
    others = torch.logsumexp(logits.index_put((rows, columns), nothing), dim=1)
    total = torch.logaddexp(positive, others[rows])
    return (total - positive).sum() / max(len(rows), 1)


def _against(source: Tensor, negatives: Tensor) -> Tensor:
    """[p, d] and [q, d] or [p, q, d] → inner products [p, q]."""
    if negatives.dim() == 2:
        return source @ negatives.T
    return torch.einsum("pd,pqd->pq", source, negatives)
