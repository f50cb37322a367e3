"""Lengths of vectors, and the kernel that compares them."""

from __future__ import annotations

import torch
from torch import Tensor

_FAINT = 0.1


def unit(vectors: Tensor) -> Tensor:
    """Rows of length one, zero rows as they are: [n, d] → [n, d]. A quarter of the time that
    ``functional.normalize`` takes for one query.
    """
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths.clamp_min_(1e-12)


def at_most_unit(vectors: Tensor) -> Tensor:
    """As `unit`, but rows shorter than a tenth only become ten times as long. A prediction that says nearly
    nothing has no direction but that of its rounding errors: at full length they would be all there is of it.
    """
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths.clamp_min_(_FAINT)


def shortened(vectors: Tensor) -> Tensor:
    """Rows no longer than one: where every tag is improbable, nothing is said loudly."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths.clamp_min_(1.0)


def squared_lengths(vectors: Tensor) -> Tensor:
    """[n, d] → [n]."""
    return (vectors * vectors).sum(dim=1)


def matern_kernel(
    left: Tensor, right: Tensor, length: float, lengths: Tensor | None = None, *, precise: bool = False
) -> Tensor:
    """(1 + r) exp(-r) with r = ‖l - r‖ / length: [n, d], [m, d] → [n, m], distances by one matrix product.

    Rasmussen & Williams 2006, Eq. 4.17 (smoothness 3/2, its √3 taken into the length). Its tails are heavier
    than a Gaussian's, so far landmarks still speak. lengths: [m] squared, those of `right` if known. precise:
    all but the product in double precision, and so is the result.
    """
    lengths = squared_lengths(right) if lengths is None else lengths
    own = squared_lengths(left)
    if precise:
        squares = own.double()[:, None] + lengths[None, :] - 2 * (left @ right.T).double()
    else:
        squares = torch.addmm(lengths, left, right.T, alpha=-2).add_(own[:, None])
    # In place: what is left are passes over memory.
    scaled = squares.clamp_min_(0).sqrt_().div_(length)
    return scaled.neg().exp_().mul_(scaled.add_(1))


def rooted(x: Tensor) -> Tensor:
    """sign(x)·√|x|, which evens out the few large activations of pooled features (Hellinger mapping,
    Perronnin et al. 2010).
    """
    return x.sign() * x.abs().sqrt()
