"""The readout's values by kernel ridge regression, exactly or on landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gnn.model.kernels import matern_kernel

_BLOCK = 4096
MOST_LEVERAGE = 0.99


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
    solved: Tensor = torch.cholesky_solve(right, _factor(gram))
    return solved


def _factor(gram: Tensor) -> Tensor:
    """Lower Cholesky factor; the diagonal of `gram` is raised until there is one."""
    scale = float(gram.diagonal().mean())
    for jitter in (0.0, 1e-6, 1e-5, 1e-4, 1e-3):
        gram.diagonal().add_(jitter * scale)
        factor: Tensor
        factor, info = torch.linalg.cholesky_ex(gram)
        if int(info) == 0:
            return factor
    gram.diagonal().add_(0.1 * scale)
    last: Tensor = torch.linalg.cholesky(gram)
    return last


def leverages(inputs: Tensor, landmarks: Tensor, length: float, ridge: float) -> Tensor:
    """[n]: how much of f(z_i) is image i's own target: the diagonal of the matrix that turns targets into
    predictions.

    K(K + ridge·I)⁻¹ where the inputs are the landmarks, K_nm (K_mn K_nm + ridge·K_mm)⁻¹ K_mn else. Without
    image i the prediction for it would be p_i - (p_i - f_i) / (1 - h_i) (Wahba 1990, Thm 4.2.1; the change of
    the bias is left out).
    """
    if landmarks is inputs or (landmarks.shape == inputs.shape and torch.equal(landmarks, inputs)):
        gram = matern_kernel(inputs, inputs, length)
        gram.diagonal().add_(ridge)
        own: Tensor = 1 - ridge * torch.cholesky_inverse(_factor(gram)).diagonal()
        return own
    gram = ridge * matern_kernel(landmarks, landmarks, length)
    for start in range(0, len(inputs), _BLOCK):
        part = matern_kernel(inputs[start : start + _BLOCK], landmarks, length)
        gram += part.T @ part
    factor = _factor(gram)
    found = []
    for start in range(0, len(inputs), _BLOCK):
        part = matern_kernel(inputs[start : start + _BLOCK], landmarks, length)
        found.append(torch.linalg.solve_triangular(factor, part.T, upper=False).square().sum(dim=0))
    return torch.cat(found)


def left_out(targets: Tensor, predicted: Tensor, leverage: Tensor) -> Tensor:
    """[n, o]: what would be predicted for each image had its own target not been learnt from."""
    return targets - (targets - predicted) / (1 - leverage.clamp(0, MOST_LEVERAGE)).unsqueeze(1)
