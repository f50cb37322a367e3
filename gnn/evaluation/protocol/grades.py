"""Part 6: grades as a person would give them, where the catalogue knows how many of each object there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gnn.evaluation.intervals import Interval, bootstrap
from gnn.evaluation.relevance import chunks
from gnn.evaluation.results import Part, Row, Systems
from graph_store.arrays import Int64Array

TITLE = "Grades: the first five results, from object counts"
GRADES = ("unacceptable", "acceptable", "good", "excellent")
DEPTH = 5


def grade(query: Any, results: Any) -> Int64Array:
    """0 (unacceptable) to 3 (excellent): how many of the paper's three tests each result passes.

    1. It shares at least half of the union of concepts. 2. It shows every object of the query. 3. Every
    object that both show is there once in both, or several times in both (and there is such an object).

    query, results: [n, num_tags] counts, result i for query i. Misraa et al. 2020 describe the tests in
    words; that the grade is the number of passed tests is ours.
    """
    asked, shown = np.asarray(query) > 0, np.asarray(results) > 0
    shared = (shown & asked).sum(axis=1)
    union = (shown | asked).sum(axis=1)
    half = (2 * shared >= union) & (shared > 0)
    all_present = (shared == asked.sum(axis=1)) & (shared > 0)
    same_number = (np.asarray(results) > 1) == (np.asarray(query) > 1)
    numbers = (same_number | ~(shown & asked)).all(axis=1) & (shared > 0)
    passed: Int64Array = half.astype(np.int64) + all_present + numbers
    return passed


def grades(
    results: Mapping[str, Int64Array],
    query_counts: Any,
    index_counts: Any,
    systems: Systems,
    *,
    seed: int = 0,
) -> Part:
    """Shares of each grade among the first five results, as means over queries.

    results: {system: [num_queries, >= 5] rows}; query_counts, index_counts: sparse [images, num_tags]
    object counts (0 = not there). A missing result is unacceptable; queries without objects are left out.
    """
    asked = np.flatnonzero(np.asarray(query_counts.sum(axis=1)).ravel() > 0)
    rows = []
    for name, retrieved in results.items():
        found = retrieved[asked, :DEPTH]
        shares = np.zeros((len(asked), len(GRADES)))
        for part in chunks(len(asked), query_counts.shape[1]):
            queries = query_counts[asked[part]].toarray()
            for place in range(DEPTH):
                rows_here = found[part, place] if place < found.shape[1] else np.full(len(queries), -1)
                given = grade(queries, index_counts[np.maximum(rows_here, 0)].toarray())
                given[rows_here < 0] = 0
                shares[np.arange(part.start, part.stop), given] += 1 / DEPTH
        figures: dict[str, Interval] = {
            "excellent or good": bootstrap(shares[:, 2] + shares[:, 3], seed=seed),
            **{label: bootstrap(shares[:, level], seed=seed) for level, label in enumerate(GRADES)},
        }
        rows.append(Row(name, systems.kind(name), figures))
    note = "The paper reports 74 % excellent or good and 9 % unacceptable, by human raters on its own data."
    return Part("grades", TITLE, tuple(rows), notes=(note,))
