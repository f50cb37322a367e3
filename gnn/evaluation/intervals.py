"""Bootstrap intervals over queries, for means and for statistics of means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.metrics import Float64Array, FloatArray
from graph_store.arrays import Int64Array

Statistic = Callable[[Float64Array], Float64Array]
"""Maps means [samples, m] to one figure for each sample [samples]."""


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval, and the number of queries that it is taken over."""

    mean: float
    low: float
    high: float
    count: int


def bootstrap(
    values: FloatArray,
    *,
    groups: Int64Array | None = None,
    seed: int = 0,
    samples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap of the mean over queries (Efron 1979); undefined (NaN) queries are left out.

    values: [num_queries]; groups: as in `bootstrap_of`.
    """
    return bootstrap_of(
        np.asarray(values)[:, None],
        lambda m: m[:, 0],
        groups=groups,
        seed=seed,
        samples=samples,
        confidence=confidence,
    )


def bootstrap_of(
    values: FloatArray,
    statistic: Statistic,
    *,
    groups: Int64Array | None = None,
    seed: int = 0,
    samples: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap over queries of a statistic of column means.

    values: [num_queries, m]; a query with a NaN in any column is left out. groups: [num_queries], queries
    that hang together, such as those that ask for one tag: whole groups are drawn then (Field and Welsh
    2007), since more queries of one group say little more than one. Resamples by multinomial counts, which is
    the same as drawing with replacement.
    """
    kept = np.asarray(values, dtype=np.float64)
    sound = np.isfinite(kept).all(axis=1)
    kept = kept[sound]
    if len(kept) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    sums, sizes = kept, np.ones(len(kept))
    if groups is not None:
        numbers = np.unique(groups[sound], return_inverse=True)[1]
        sizes = np.bincount(numbers).astype(np.float64)
        sums = np.zeros((len(sizes), kept.shape[1]))
        np.add.at(sums, numbers, kept)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(sums), np.full(len(sums), 1.0 / len(sums)), size=samples)
    drawn = statistic(counts @ sums / (counts @ sizes)[:, None])
    figure = float(statistic(kept.mean(axis=0, keepdims=True))[0])
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size == 0 or not np.isfinite(figure):
        return Interval(figure, float("nan"), float("nan"), len(kept))
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    # The interval of a constant may miss its own mean by one rounding.
    return Interval(figure, min(float(low), figure), max(float(high), figure), len(kept))


def ratio_of_means(
    one: FloatArray, other: FloatArray, *, groups: Int64Array | None = None, seed: int = 0
) -> Interval:
    """Mean of `one` over mean of `other`, both measured on the same queries and resampled together."""

    def ratio(means: Float64Array) -> Float64Array:
        result = np.full(len(means), np.nan)
        np.divide(means[:, 0], means[:, 1], out=result, where=means[:, 1] > 0)
        return result

    return bootstrap_of(np.stack([one, other], axis=1), ratio, groups=groups, seed=seed)
