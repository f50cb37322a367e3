"""What retrieved rows are worth: graded tag relevance and visual likeness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gnn.evaluation.intervals import Interval, bootstrap, ratio_of_means
from gnn.evaluation.metrics import Float64Array, ideal_gains, ndcg_at_k
from gnn.evaluation.relevance import TagTable, chunks, jaccard_gains
from gnn.evaluation.results import Row, Systems
from graph_store.arrays import Float32Array, Int64Array


def graded_ndcg(
    results: Mapping[str, Int64Array], queries: TagTable, index: TagTable, cuts: Sequence[int]
) -> dict[str, dict[int, Float64Array]]:
    """nDCG with Jaccard gain of every system at every cut. -> {system: {cut: [num_queries]}}

    The ideal ranking is over all indexed images. NaN for a query that shares no tag with any of them.
    """
    deepest = max(cuts)
    values = {name: {k: np.full(queries.num_images, np.nan) for k in cuts} for name in results}
    for part in chunks(queries.num_images, index.num_images):
        gains = jaccard_gains(queries.rows(part), index)
        ideal = ideal_gains(gains, deepest)
        for name, rows in results.items():
            ranked = take_gains(gains, rows[part, :deepest])
            for k in cuts:
                values[name][k][part] = ndcg_at_k(ranked, ideal, k)
    return values


def take_gains(gains: Float32Array, rows: Int64Array) -> Float64Array:
    """Gains of the retrieved rows [num_queries, k]; 0 for the -1 of a missing result."""
    if gains.shape[1] == 0:
        return np.zeros(rows.shape)
    taken = np.take_along_axis(gains, np.maximum(rows, 0), axis=1)
    return np.where(rows >= 0, taken, 0.0).astype(np.float64)


def mean_cosine(rows: Int64Array, query_features: Float32Array, index_features: Float32Array) -> Float64Array:
    """Mean raw cosine of each query with its results. -> [num_queries]; NaN where nothing came back.

    rows: [num_queries, k]; features: unit rows of the encoder.
    """
    found = rows >= 0
    total = np.zeros(len(rows))
    for column in range(rows.shape[1]):
        likeness = np.einsum(
            "nd,nd->n", query_features, index_features[np.maximum(rows[:, column], 0)], dtype=np.float64
        )
        total += np.where(found[:, column], likeness, 0.0)
    count = found.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def graded_rows(
    values: Mapping[str, Mapping[int, Float64Array]],
    systems: Systems,
    seed: int,
    groups: Int64Array | None = None,
) -> tuple[Row, ...]:
    """One row for each system, nDCG at each cut; presets also as a ratio to the best baseline at each cut.

    The best baseline is the one with the highest mean on these very queries: the hardest one to beat.
    groups: [num_queries], as in `bootstrap_of`.
    """
    rows = []
    baselines = [name for name in values if systems.kind(name) == "baseline"]
    for name, by_cut in values.items():
        figures: dict[str, Interval] = {
            f"nDCG@{k}": bootstrap(v, groups=groups, seed=seed) for k, v in by_cut.items()
        }
        if systems.kind(name) == "preset":
            for k in by_cut:
                means = {b: np.nanmean(values[b][k]) for b in baselines if np.isfinite(values[b][k]).any()}
                if means:
                    best = max(means, key=lambda b: float(means[b]))
                    figures[f"ratio@{k}"] = ratio_of_means(
                        by_cut[k], values[best][k], groups=groups, seed=seed
                    )
        rows.append(Row(name, systems.kind(name), figures))
    return tuple(rows)
