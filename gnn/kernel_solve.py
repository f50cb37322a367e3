"""The readout's values by kernel ridge regression, exactly or on landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gnn.model.kernel_sage import matern_kernel

_BLOCK = 4096


@dataclass(frozen=True)
class Solution:
    """f(z) = bias + k(z, landmarks) · values."""

    landmarks: Tensor
    values: Tensor
    bias: Tensor


def solve(inputs: Tensor, targets: Tensor, landmarks: Tensor, length: float, ridge: float) -> Solution:
    """Values that minimise Σ_i ‖f(z_i) - p_i‖² + ridge · ‖f‖²_H over functions on the landmarks.

    inputs z: [n, d]; targets p: [n, o]; landmarks: [m, d]. With the inputs themselves as landmarks this is
    kernel ridge regression, (K + ridge·I) A = P; with fewer it is its subset-of-regressors approximation,
    (K_mn K_nm + ridge·K_mm) A = K_mn P (Smola & Schölkopf 2000; Rasmussen & Williams 2006, Eq. 8.14).
    """
    bias = targets.mean(dim=0)
    centred = targets - bias
    if landmarks is inputs or (landmarks.shape == inputs.shape and torch.equal(landmarks, inputs)):
        gram = matern_kernel(inputs, inputs, length)
        gram.diagonal().add_(ridge)
        return Solution(landmarks, _positive_solve(gram, centred), bias)
    gram = ridge * matern_kernel(landmarks, landmarks, length)
    right = torch.zeros(len(landmarks), targets.shape[1])
    for start in range(0, len(inputs), _BLOCK):
        part = matern_kernel(inputs[start : start + _BLOCK], landmarks, length)
        gram += part.T @ part
        right += part.T @ centred[start : start + _BLOCK]
    return Solution(landmarks, _positive_solve(gram, right), bias)


def _positive_solve(gram: Tensor, right: Tensor) -> Tensor:
    """Cholesky, with just enough added to the diagonal where rounding has made the matrix indefinite."""
    scale = float(gram.diagonal().mean())
    for jitter in (0.0, 1e-6, 1e-5, 1e-4, 1e-3):
        if jitter:
            gram.diagonal().add_(jitter * scale)
        factor, info = torch.linalg.cholesky_ex(gram)
        if int(info) == 0:
            solved: Tensor = torch.cholesky_solve(right, factor)
            return solved
    least: Tensor = torch.linalg.lstsq(gram, right).solution
    return least
