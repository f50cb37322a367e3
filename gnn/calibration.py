"""From tag scores to probabilities."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from gnn.calibration_cells import EDGE, cells_of
from graph_store.arrays import AnyArray, Float32Array

_ENOUGH = 20


@dataclass(frozen=True)
class Calibration:
    """p(s) = σ(bias + slope·s + log_slope·logit(s clipped to [0.001, 0.999])).

    Platt 1999 with the logit as a second input, as in beta calibration (Kull et al. 2017), so that the curve
    can bend near both ends. Rises with s: both slopes are at least 0.
    """

    bias: float = 0.0
    slope: float = 0.0
    log_slope: float = 1.0

    def __call__(self, scores: Float32Array) -> Float32Array:
        """Probabilities in [0, 1], in the shape of `scores`."""
        clipped = np.clip(scores, EDGE, 1 - EDGE)
        logits = self.bias + self.slope * scores + self.log_slope * np.log(clipped / (1 - clipped))
        result: Float32Array = expit(logits).astype(np.float32)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `Calibration(**d)` is the inverse."""
        return asdict(self)


def fit_calibration(scores: AnyArray, truth: AnyArray) -> Calibration:
    """The likeliest calibration. scores, truth (0/1): same shape. Too little data: scores as they are. Above
    4 million scores, alike ones are taken together (:mod:`gnn.calibration_cells`).
    """
    happened = int(np.count_nonzero(truth))
    if happened < _ENOUGH or truth.size - happened < _ENOUGH:
        return Calibration()
    from scipy.optimize import minimize

    cells = cells_of(scores, truth)
    inputs, y, number = cells.inputs, cells.happened, float(truth.size)

    def loss(weights: AnyArray) -> tuple[float, AnyArray]:
        logits = inputs @ weights
        value = float(np.sum(cells.weights * (np.logaddexp(0.0, logits) - y * logits)) / number)
        gradient = inputs.T @ (cells.weights * (expit(logits) - y)) / number
        return value, gradient

    found = minimize(loss, np.array([0.0, 0.0, 1.0]), jac=True, bounds=[(None, None), (0, None), (0, None)])
    bias, slope, log_slope = (float(value) for value in found.x)
    return Calibration(bias, slope, log_slope)
