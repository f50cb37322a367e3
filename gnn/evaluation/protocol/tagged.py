"""Part 2: a held-out image together with its true tags."""

from __future__ import annotations

from collections.abc import Mapping

from gnn.evaluation.protocol.graded import graded_ndcg, graded_rows
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Systems
from graph_store.arrays import Int64Array

TITLE = "Tagged: a held-out image with its true tags, attach = mixed"


def tagged(
    results: Mapping[str, Int64Array], queries: TagTable, index: TagTable, systems: Systems, *, seed: int = 0
) -> Part:
    """nDCG@5 and nDCG@10 with Jaccard gain; every system was given the queries' tags.

    results: {system: [num_queries, >= 10] rows}. A baseline puts the known tags in the place of predicted
    ones.
    """
    values = graded_ndcg(results, queries, index, (5, 10))
    return Part("tagged", TITLE, graded_rows(values, systems, seed))
