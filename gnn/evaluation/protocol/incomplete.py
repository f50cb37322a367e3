"""Part 3: the index has lost half of its tags. Are the images that truly carry a tag found all the same?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.intervals import Interval, bootstrap, ratio_of_means
from gnn.evaluation.metrics import Float64Array, r_precision
from gnn.evaluation.relevance import TagTable, chunks
from gnn.evaluation.results import Part, Row, Systems
from graph_store.arrays import Int64Array
from graph_store.csr import Csr

TITLE = "Incomplete tags: half of the index's edges hidden; image + one tag; R-precision"
HARD_FILTER = "hard filter"


def hide_edges(tags: Csr, share: float = 0.5, *, seed: int = 0) -> Csr:
    """The relation without a random `share` of its edges; what is left keeps weight and order."""
    hidden = np.random.default_rng(seed).permutation(tags.num_edges)[: round(tags.num_edges * share)]
    kept = np.ones(tags.num_edges, dtype=bool)
    kept[hidden] = False
    return Csr.from_edges(tags.edge_rows()[kept], tags.indices[kept], tags.weights[kept], tags.num_rows)


@dataclass(frozen=True, eq=False)
class TagQueries:
    """Queries of one image and one tag. images, tags, total: [num_queries]; total = R, the true carriers."""

    images: Int64Array
    tags: Int64Array
    total: Int64Array


def tag_queries(
    queries: TagTable,
    index: TagTable,
    *,
    fewest: int = 10,
    most: int = 200,
    limit: int = 2000,
    seed: int = 0,
) -> TagQueries:
    """Every held-out image with each of its tags that `fewest` to `most` indexed images truly carry.

    More than `limit` pairs are thinned out at random.
    """
    carriers = index.counts()
    matrix = queries.matrix.tocoo()
    eligible = np.flatnonzero((carriers[matrix.col] >= fewest) & (carriers[matrix.col] <= most))
    if len(eligible) > limit:
        eligible = np.sort(np.random.default_rng(seed).permutation(eligible)[:limit])
    images = matrix.row[eligible].astype(np.int64)
    tags = matrix.col[eligible].astype(np.int64)
    return TagQueries(images, tags, carriers[tags])


def carrier_precision(rows: Int64Array, asked: TagQueries, index: TagTable) -> Float64Array:
    """R-precision of each query. rows: [num_queries, >= max R], -1 padded; index: the true tags."""
    value = np.zeros(len(asked.tags))
    carries = index.matrix.tocsc()
    for part in chunks(len(asked.tags), index.num_images):
        truth = np.asarray(carries[:, asked.tags[part]].toarray().T > 0)
        found = np.take_along_axis(truth, np.maximum(rows[part], 0), axis=1) & (rows[part] >= 0)
        value[part] = r_precision(found, asked.total[part])
    return value


def incomplete(
    results: Mapping[str, Int64Array],
    asked: TagQueries,
    index: TagTable,
    systems: Systems,
    *,
    seed: int = 0,
) -> Part:
    """R-precision against the true tags, and its ratio to hard filtering on the visible ones.

    results: {system: [num_queries, >= max R] rows}; one of the systems is HARD_FILTER. index: all true
    tags. Intervals are over tags: the filter's figure is the same for every query of one.
    """
    values = {name: carrier_precision(rows, asked, index) for name, rows in results.items()}
    rows = []
    for name, value in values.items():
        figures: dict[str, Interval] = {"R-precision": bootstrap(value, groups=asked.tags, seed=seed)}
        if name != HARD_FILTER and HARD_FILTER in values:
            figures["ratio to hard filter"] = ratio_of_means(
                value, values[HARD_FILTER], groups=asked.tags, seed=seed
            )
        rows.append(Row(name, systems.kind(name), figures))
    notes = (f"{len(asked.tags)} queries, {np.unique(asked.tags).size} tags",)
    return Part("incomplete", TITLE, tuple(rows), notes=notes)
