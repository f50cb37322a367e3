"""A held-out image with one of the several tags that it truly has: does the tag help to find its like?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.protocol.graded import graded_ndcg, graded_rows
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Systems
from graph_store.arrays import Int64Array

TITLE = "One tag told: a held-out image with one of its several tags, attach = mixed"
DEPTH = 10


@dataclass(frozen=True, eq=False)
class ToldQueries:
    """images: [n] held-out images with two tags and more; tags: [n] one of each."""

    images: Int64Array
    tags: Int64Array


def told_queries(queries: TagTable, *, limit: int = 2000, seed: int = 0) -> ToldQueries:
    """Every such image, or `limit` of them, with a tag drawn at random."""
    rng = np.random.default_rng(seed)
    images = np.flatnonzero(np.diff(queries.matrix.indptr) >= 2)
    if len(images) > limit:
        images = np.sort(rng.permutation(images)[:limit])
    drawn = [int(rng.choice(queries.tags_of(int(image)))) for image in images]
    return ToldQueries(images.astype(np.int64), np.array(drawn, dtype=np.int64))


def told(
    results: Mapping[str, Int64Array],
    asked: ToldQueries,
    queries: TagTable,
    index: TagTable,
    systems: Systems,
    *,
    seed: int = 0,
) -> Part:
    """nDCG@5 and nDCG@10 with Jaccard gain, against all tags of the image. Intervals are over tags told.

    results: {system: [n, >= 10] rows}; queries: the true tags of all held-out images.
    """
    values = graded_ndcg(results, queries.rows(asked.images), index, (5, 10))
    notes = (f"{len(asked.tags)} queries, {np.unique(asked.tags).size} tags",)
    return Part("told", TITLE, graded_rows(values, systems, seed, asked.tags), notes=notes)
