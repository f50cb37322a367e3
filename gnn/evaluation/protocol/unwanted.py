"""Negative tags: does *like this, but without u* push u out, and keep what else was asked for?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.intervals import bootstrap, ratio_of_means
from gnn.evaluation.metrics import Float64Array, ideal_gains, ndcg_at_k
from gnn.evaluation.protocol.graded import take_gains
from gnn.evaluation.relevance import TagTable, chunks
from gnn.evaluation.results import Part, Row, Systems
from graph_store.arrays import Int64Array

TITLE = "Negative tags: a held-out image without one of the things it shows"
DEPTH = 20


@dataclass(frozen=True, eq=False)
class UnwantedQueries:
    """A held-out image, and one of its tags that is not wanted. images, tags: [num_queries]."""

    images: Int64Array
    tags: Int64Array


def unwanted_queries(
    queries: TagTable, index: TagTable, *, fewest: int = 10, limit: int = 1000, seed: int = 0
) -> UnwantedQueries:
    """One random tag of each held-out image that has at least two; `fewest` indexed images carry it."""
    rng = np.random.default_rng(seed)
    carriers = index.counts()
    pairs: list[tuple[int, int]] = []
    for image in rng.permutation(queries.num_images):
        tags = queries.tags_of(int(image))
        usable = tags[carriers[tags] >= fewest]
        if len(tags) >= 2 and len(usable) and len(pairs) < limit:
            pairs.append((int(image), int(rng.choice(usable))))
    images, tags = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    return UnwantedQueries(images, tags)


def unwanted(
    results: Mapping[str, tuple[Int64Array, Int64Array]],
    asked: UnwantedQueries,
    queries: TagTable,
    index: TagTable,
    systems: Systems,
    *,
    seed: int = 0,
) -> Part:
    """Share of the first 20 that carry the unwanted tag, with it refused and without, and what became of the
    rest: nDCG@20 with the Jaccard overlap of all *other* tags as gain.

    results: {system: (rows for the image alone, rows with the tag refused)}, both [num_queries, >= 20], -1
    padded. queries, index: the true tags. Intervals are over refused tags: each is asked about many times.
    """
    rows = []
    for name, both in results.items():
        (share, rest), (share_without, rest_without) = (
            _measured(found[:, :DEPTH], asked, queries, index) for found in both
        )
        figures = {
            "share with the tag": bootstrap(share, groups=asked.tags, seed=seed),
            "… refused": bootstrap(share_without, groups=asked.tags, seed=seed),
            "left": ratio_of_means(share_without, share, groups=asked.tags, seed=seed),
            "rest kept": ratio_of_means(rest_without, rest, groups=asked.tags, seed=seed),
        }
        rows.append(Row(name, systems.kind(name), figures))
    return Part(
        "unwanted",
        TITLE,
        tuple(rows),
        notes=(f"{len(asked.tags)} images, {np.unique(asked.tags).size} tags",),
    )


def _measured(
    rows: Int64Array, asked: UnwantedQueries, queries: TagTable, index: TagTable
) -> tuple[Float64Array, Float64Array]:
    """([num_queries] share of the tag, [num_queries] nDCG over the other tags)."""
    share = np.zeros(len(asked.tags))
    rest = np.full(len(asked.tags), np.nan)
    carries = index.matrix.tocsc()
    sizes = index.sizes().astype(np.float32)
    for part in chunks(len(asked.tags), index.num_images):
        tagged = np.asarray(carries[:, asked.tags[part]].toarray().T > 0)
        found = rows[part] >= 0
        share[part] = (np.take_along_axis(tagged, np.maximum(rows[part], 0), axis=1) & found).sum(
            axis=1
        ) / np.maximum(found.sum(axis=1), 1)
        own = queries.matrix[asked.images[part]]
        shared = np.asarray((own @ index.matrix.T).toarray()) - tagged
        union = (np.asarray(own.sum(axis=1)) - 1) + (sizes[None, :] - tagged) - shared
        gains = (shared / np.maximum(union, 1)).astype(np.float32)
        rest[part] = ndcg_at_k(take_gains(gains, rows[part]), ideal_gains(gains, DEPTH), DEPTH)
    return share, rest
