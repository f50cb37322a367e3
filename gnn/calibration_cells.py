"""Scores and truths as a calibration is fitted to them: one by one, or alike ones together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graph_store.arrays import AnyArray, Float64Array, Int64Array

EXACT_UP_TO = 4_000_000
"""So many cells are fitted one by one, which takes 90 bytes for each of them."""

EDGE = 1e-3
_BINS = 256
_AT_ONCE = 2**18


@dataclass(frozen=True, eq=False)
class Cells:
    """inputs: [n, 3] 1, a score s, and logit(s clipped to [0.001, 0.999]), or the means of these over cells
    that are alike; happened: [n] 0/1; weights: [n] for how many cells each row stands.
    """

    inputs: Float64Array
    happened: Float64Array
    weights: Float64Array


def cells_of(scores: AnyArray, truth: AnyArray) -> Cells:
    """All of scores and truth (0/1), which have the same shape; above 4 million cells binned."""
    s, y = scores.reshape(-1), truth.reshape(-1)
    if len(s) > EXACT_UP_TO:
        return binned(s, y)
    return Cells(_inputs(s.astype(np.float64)), y.astype(np.float64), np.ones(len(s)))


def binned(scores: AnyArray, truth: AnyArray) -> Cells:
    """The cells [n] with the same truth in bins of their scores, each bin as its mean.

    Bins are 1/256 wide in asinh(s) + logit(s), which rises with s and tells apart scores that any of the
    inputs does, however far out they are. Logits are linear in the inputs, so that a mean stands for its bin
    but for what bends within it: on drawn scores no coefficient moved by more than 4e-4.
    """
    least, most = (int(_bins(_inputs(np.array([float(end)])))[0]) for end in (scores.min(), scores.max()))
    width = most - least + 1
    sums = np.zeros((3, 2 * width))
    for s, y in _parts(scores, truth):
        inputs = _inputs(s)
        places = (_bins(inputs) - least) + width * (y > 0)
        for column, total in zip(inputs.T, sums, strict=True):
            total += np.bincount(places, weights=column, minlength=2 * width)
    filled = np.flatnonzero(sums[0])
    weights = sums[0, filled]
    return Cells((sums[:, filled] / weights).T, (filled >= width).astype(np.float64), weights)


def _parts(scores: AnyArray, truth: AnyArray) -> Iterator[tuple[Float64Array, AnyArray]]:
    for start in range(0, len(scores), _AT_ONCE):
        yield scores[start : start + _AT_ONCE].astype(np.float64), truth[start : start + _AT_ONCE]


def _inputs(s: Float64Array) -> Float64Array:
    """[n] → [n, 3]."""
    clipped = np.clip(s, EDGE, 1 - EDGE)
    return np.stack([np.ones_like(s), s, np.log(clipped / (1 - clipped))], axis=1)


def _bins(inputs: Float64Array) -> Int64Array:
    """[n, 3] → [n] the number of the bin, which may be negative."""
    result: Int64Array = np.floor((np.arcsinh(inputs[:, 1]) + inputs[:, 2]) * _BINS).astype(np.int64)
    return result
