"""The two measures of Graph-RISE (Juan et al., WSDM 2020): kNN label accuracy and triplet ranking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.intervals import bootstrap
from gnn.evaluation.metrics import Float64Array
from gnn.evaluation.relevance import TagTable, chunks, jaccard_gains
from gnn.evaluation.results import Part, Row, Systems
from graph_store.arrays import Int64Array

TITLE = "Labels: what the five nearest call a held-out image; which of two images is the nearer"
NEAREST = 5
POSITIVE = 0.5


@dataclass(frozen=True, eq=False)
class Asked:
    """Of each triplet: the query's number, and the index rows of the more and the less alike image, [t]."""

    query: Int64Array
    positive: Int64Array
    negative: Int64Array


def draw_triplets(queries: TagTable, index: TagTable, *, each: int = 2, seed: int = 0) -> Asked:
    """Up to `each` a query: an image of Jaccard similarity of at least one half, and one of less than half
    that image's.
    """
    rng = np.random.default_rng(seed)
    found: list[tuple[int, int, int]] = []
    for part in chunks(queries.num_images, index.num_images):
        gains = jaccard_gains(queries.rows(part), index)
        for query, row in zip(range(queries.num_images)[part], gains, strict=True):
            alike = np.flatnonzero(row >= POSITIVE)
            for _ in range(each if len(alike) else 0):
                positive = int(rng.choice(alike))
                others = np.flatnonzero(row < row[positive] / 2)
                if len(others):
                    found.append((query, positive, int(rng.choice(others))))
    table = np.array(found, dtype=np.int64).reshape(-1, 3)
    return Asked(table[:, 0], table[:, 1], table[:, 2])


def knn_accuracy(rows: Int64Array, queries: TagTable, index: TagTable) -> Float64Array:
    """1 where the tag that most of the nearest carry is one of the query's, else 0; [num_queries], NaN for a
    query without tags.

    rows: [num_queries, >= 5], best first, -1 = nothing. Equal votes go to the tag of the nearer images.
    """
    nearest = rows[:, :NEAREST]
    right = np.full(len(rows), np.nan)
    for query in np.flatnonzero(np.diff(queries.matrix.indptr)):
        votes = np.zeros(index.num_tags)
        for rank, row in enumerate(nearest[query][nearest[query] >= 0]):
            votes[index.tags_of(int(row))] += 1 - rank / (100 * NEAREST)
        right[query] = bool(votes.any()) and int(votes.argmax()) in queries.tags_of(int(query))
    return right


def labels(
    results: Mapping[str, Int64Array],
    preferred: Mapping[str, Float64Array],
    asked: Asked,
    queries: TagTable,
    index: TagTable,
    systems: Systems,
    *,
    seed: int = 0,
) -> Part:
    """results: {system: [num_queries, >= 5] rows}; preferred: {system: [t]}, 1 where it puts the more alike
    image of a triplet first, 0.5 where it cannot tell.
    """
    rows = []
    for name, found in results.items():
        figures = {"kNN accuracy": bootstrap(knn_accuracy(found, queries, index), seed=seed)}
        if name in preferred:
            # Triplets of one query hang together, so the interval is over queries.
            counts = np.bincount(asked.query, minlength=queries.num_images)
            sums = np.bincount(asked.query, preferred[name], minlength=queries.num_images)
            figures["triplets"] = bootstrap(
                np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), seed=seed
            )
        rows.append(Row(name, systems.kind(name), figures))
    return Part("labels", TITLE, tuple(rows))
