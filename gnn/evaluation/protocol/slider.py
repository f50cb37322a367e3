"""Part 4: does the slider do what its ends say, smoothly?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gnn.evaluation.intervals import Interval, bootstrap, bootstrap_of, ratio_of_means
from gnn.evaluation.metrics import Float64Array, spearman
from gnn.evaluation.protocol.graded import graded_ndcg, mean_cosine
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Row, Systems
from graph_store.arrays import Float32Array, Int64Array

TITLE = "Slider: visual weight 0, 0.1 ... 1; untagged held-out images"
STOPS = tuple(round(0.1 * i, 1) for i in range(11))


def slider(
    results: Mapping[str, Sequence[Int64Array]],
    raw: Int64Array,
    queries: TagTable,
    index: TagTable,
    query_features: Float32Array,
    index_features: Float32Array,
    systems: Systems,
    *,
    default_stop: float = 0.5,
    seed: int = 0,
) -> Part:
    """How conceptual likeness (tag nDCG@10) falls and visual likeness (mean raw cosine of 10) rises with v.

    results: {system: for each of STOPS the [num_queries, >= 10] rows}; raw: rows of plain feature search.
    Figures: the rank correlations of both with v, nDCG signed so that 1 is right for both; raw cosine at v
    = 1 as a share of plain feature search's; nDCG@10 at v = 0 less that at `default_stop`.
    """
    at_raw = mean_cosine(raw[:, :10], query_features, index_features)
    default = STOPS.index(default_stop)
    rows = []
    series: dict[str, dict[str, list[float]]] = {}
    for name, by_stop in results.items():
        labelled = {str(v): rows_at for v, rows_at in zip(STOPS, by_stop, strict=True)}
        graded = graded_ndcg(labelled, queries, index, (10,))
        concept = np.stack([graded[str(v)][10] for v in STOPS], axis=1)
        visual = np.stack([mean_cosine(at[:, :10], query_features, index_features) for at in by_stop], axis=1)
        figures: dict[str, Interval] = {
            "Spearman(v, raw cosine)": bootstrap_of(visual, _monotone(1.0), seed=seed, samples=200),
            "Spearman(v, -nDCG@10)": bootstrap_of(concept, _monotone(-1.0), seed=seed, samples=200),
            "raw cosine at 1 / raw kNN": ratio_of_means(visual[:, -1], at_raw, seed=seed),
            "nDCG@10 at 0": bootstrap(concept[:, 0], seed=seed),
            "nDCG@10 at 0 - default": bootstrap(concept[:, 0] - concept[:, default], seed=seed),
        }
        rows.append(Row(name, systems.kind(name), figures))
        series[name] = {
            "v": list(STOPS),
            "nDCG@10": [float(x) for x in np.nanmean(concept, axis=0)] if len(concept) else [],
            "raw cosine": [float(x) for x in np.nanmean(visual, axis=0)] if len(visual) else [],
        }
    return Part("slider", TITLE, tuple(rows), series=series)


class _monotone:
    """Rank correlation of the mean curve with the slider, times a sign."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def __call__(self, means: Float64Array) -> Float64Array:
        """means: [samples, stops] -> [samples]"""
        stops = np.asarray(STOPS)
        return np.array([self.sign * spearman(stops, curve) for curve in means])
