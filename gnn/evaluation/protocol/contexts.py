"""Disambiguation (Misraa et al. 2020, Fig. 6): a tag beside two kinds of pictures finds different things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.intervals import bootstrap
from gnn.evaluation.metrics import Float64Array
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Row, Systems
from graph_store.arrays import Float32Array, Int64Array

TITLE = "Disambiguation: one tag beside pictures of two contexts; the first ten"
DEPTH = 10


@dataclass(frozen=True, eq=False)
class ContextQueries:
    """Pairs of questions that share a tag. tags: [n]; contexts: [n, 2] tags; images: [n, 2] held-out images
    that show a context and not the tag.
    """

    tags: Int64Array
    contexts: Int64Array
    images: Int64Array


def context_queries(
    queries: TagTable, index: TagTable, *, together: int = 8, pairs: int = 5, limit: int = 400
) -> ContextQueries:
    """For every tag the two contexts that it is found in most and that are found together least.

    A context of a tag is another tag on at least `together` of its indexed images. Of the contexts' pairs the
    one is taken whose rarer member is commonest after the images that show both are taken off. Up to `pairs`
    pairs of held-out images for each.
    """
    joint = np.asarray((index.matrix.T @ index.matrix).toarray())
    shown = queries.dense()
    found: list[tuple[int, tuple[int, int], tuple[int, int]]] = []
    for tag in range(index.num_tags):
        usable = [
            context
            for context in np.flatnonzero(joint[tag] >= together).tolist()
            if context != tag and (shown[:, context] & ~shown[:, tag]).any()
        ]
        carriers = index.matrix[index.matrix[:, [tag]].toarray().ravel() > 0]
        beside = np.asarray((carriers.T @ carriers).toarray())
        best: tuple[float, int, int] = (0.0, -1, -1)
        for place, one in enumerate(usable):
            for other in usable[place + 1 :]:
                apart = min(beside[one, one], beside[other, other]) - 2 * beside[one, other]
                best = max(best, (float(apart), one, other))
        if best[0] <= 0:
            continue
        _, one, other = best
        sides = [
            np.flatnonzero(shown[:, mine] & ~shown[:, theirs] & ~shown[:, tag])[:pairs]
            for mine, theirs in ((one, other), (other, one))
        ]
        found += [(tag, (one, other), (int(a), int(b))) for a, b in zip(*sides, strict=False)]
    chosen = found[:limit]
    return ContextQueries(
        np.array([tag for tag, _, _ in chosen], dtype=np.int64),
        np.array([contexts for _, contexts, _ in chosen], dtype=np.int64).reshape(-1, 2),
        np.array([images for _, _, images in chosen], dtype=np.int64).reshape(-1, 2),
    )


def contexts(
    results: Mapping[str, Int64Array],
    asked: ContextQueries,
    index: TagTable,
    systems: Systems,
    *,
    seed: int = 0,
) -> Part:
    """How many of the first ten carry the tag, the picture's context, and the other picture's; how many of
    them the two questions share.

    results: {system: [n, 2, >= 10] rows}, -1 padded; index: the true tags. Intervals are over tags.
    """
    rows = []
    for name, given in results.items():
        found = given[:, :, :DEPTH]
        own, other = _share(found, asked.contexts, index), _share(found, asked.contexts[:, ::-1], index)
        told = _share(found, asked.tags[:, None].repeat(2, 1), index)
        same = [len(set(one[one >= 0]) & set(two)) / DEPTH for one, two in found]
        figures = {
            "with the tag": bootstrap(told, groups=asked.tags, seed=seed),
            "with the picture's context": bootstrap(own, groups=asked.tags, seed=seed),
            "with the other's": bootstrap(other, groups=asked.tags, seed=seed),
            "the same results": bootstrap(np.array(same), groups=asked.tags, seed=seed),
        }
        rows.append(Row(name, systems.kind(name), figures))
    notes = (f"{len(asked.tags)} pairs of questions, {np.unique(asked.tags).size} tags",)
    return Part("contexts", TITLE, tuple(rows), notes=notes)


def _share(rows: Int64Array, tags: Int64Array, index: TagTable) -> Float64Array:
    """[n]: mean over both questions of the share of results that carry the tag. tags: [n, 2]."""
    by_tag = index.matrix.tocsc()
    shares = np.zeros(tags.shape)
    for place, tag in np.ndenumerate(tags):
        carriers = by_tag.indices[by_tag.indptr[tag] : by_tag.indptr[tag + 1]]
        shares[place] = np.isin(rows[place], carriers).mean()
    return np.asarray(shares.mean(axis=1), dtype=np.float64)


def filtered_rows(raw: Float32Array, carries: Float32Array, k: int) -> Int64Array:
    """Baseline: what carries the tag first, then by likeness. raw, carries: [num_queries, num_indexed]."""
    order = np.argsort(-(raw + 2 * carries), axis=1, kind="stable")
    return order[:, :k].astype(np.int64)
