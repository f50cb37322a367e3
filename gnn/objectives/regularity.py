"""Graph regularisation: joined nodes should lie together."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Normaliser = Literal["edges", "degree"]


def graph_regularity(
    ends: Tensor, others: Tensor, weights: Tensor, normaliser: Normaliser = "edges"
) -> Tensor:
    """Weighted mean of d(φ_u, φ_v) = ‖φ_u - φ_v‖² over edges (u, v).

    ends: [n, d]; others: [n, r, d], neighbours of each; weights: [n, r] ≥ 0, zero = no edge. Of neighbours
    that were sampled, the weights of a row have to add up to the weighted degree of its node.
    "edges": Σ_uv w_uv d / Σ_uv w_uv, the regulariser of Graph-RISE (Juan et al. 2020), where well-joined
    nodes rule. "degree": each node's sum is divided by its weighted degree Σ_v w_uv first, as in neural
    structured learning (Gopalan et al. 2021), so each node counts once; those without neighbours do not.
    """
    distances = (ends.unsqueeze(1) - others).square().sum(dim=2)
    sums, degrees = (weights * distances).sum(dim=1), weights.sum(dim=1)
    if normaliser == "edges":
        result: Tensor = sums.sum() / degrees.sum().clamp_min(1e-12)
        return result
    joined = degrees > 0
    means = torch.where(joined, sums / degrees.clamp_min(1e-12), torch.zeros_like(sums))
    result = means.sum() / joined.sum().clamp_min(1)
    return result
