"""Part 1: a held-out image without tags. Does its search return images that show the same things?"""

from __future__ import annotations

from collections.abc import Mapping

from gnn.evaluation.protocol.graded import graded_ndcg, graded_rows
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Systems
from graph_store.arrays import Int64Array

TITLE = "Untagged: a held-out image, no tags, default slider"


def untagged(
    results: Mapping[str, Int64Array], queries: TagTable, index: TagTable, systems: Systems, *, seed: int = 0
) -> Part:
    """nDCG@5 and nDCG@10 with Jaccard gain.

    results: {system: [num_queries, >= 10] rows}; queries: the true tags, which no system saw.
    """
    values = graded_ndcg(results, queries, index, (5, 10))
    return Part("untagged", TITLE, graded_rows(values, systems, seed))
