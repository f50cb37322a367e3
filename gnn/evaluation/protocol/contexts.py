"""Disambiguation (Misraa et al. 2020, Fig. 6): a tag beside two kinds of pictures finds different things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnn.evaluation.intervals import bootstrap
from gnn.evaluation.metrics import Float64Array, top_k
from gnn.evaluation.relevance import TagTable, chunks
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
    queries: TagTable,
    index: TagTable,
    *,
    together: int = 8,
    pairs: int = 5,
    limit: int = 400,
    seed: int = 0,
) -> ContextQueries:
    """For every tag the two contexts that it is found in most and that are found together least.

    A context of a tag is another tag on at least `together` of its indexed images. Of the contexts' pairs the
    one is taken whose rarer member is commonest after the images that show both are taken off. Up to `pairs`
    pairs of held-out images for each. Tags come in random order: columns are by name, and the limit would
    leave only those of the first letters.
    """
    indexed, asking = index.matrix.tocsc(), queries.matrix.tocsc()
    shown = queries.counts()
    found: list[tuple[int, tuple[int, int], tuple[int, int]]] = []
    for tag in map(int, np.random.default_rng(seed).permutation(index.num_tags)):
        if len(found) >= limit:
            break
        carriers = index.rows(_carriers(indexed, tag))
        # Only what an image that can ask shows, which is one without the tag.
        is_usable = (carriers.counts() >= together) & (shown > queries.rows(_carriers(asking, tag)).counts())
        is_usable[tag] = False
        usable = np.flatnonzero(is_usable)
        best = furthest_apart(carriers.matrix[:, usable]) if len(usable) > 1 else None
        if best is None:
            continue
        one, other = (int(usable[place]) for place in best)
        images = {each: _carriers(asking, each) for each in (tag, one, other)}
        sides = [
            np.setdiff1d(images[mine], np.union1d(images[theirs], images[tag]))[:pairs]
            for mine, theirs in ((one, other), (other, one))
        ]
        found += [(tag, (one, other), (int(a), int(b))) for a, b in zip(*sides, strict=False)]
    chosen = found[:limit]
    return ContextQueries(
        np.array([tag for tag, _, _ in chosen], dtype=np.int64),
        np.array([contexts for _, contexts, _ in chosen], dtype=np.int64).reshape(-1, 2),
        np.array([images for _, _, images in chosen], dtype=np.int64).reshape(-1, 2),
    )


def furthest_apart(carried: Any) -> tuple[int, int] | None:
    """The columns a < b of a sparse 0/1 matrix [n, c] with the largest min(|a|, |b|) - 2 |a ∧ b|, of equal
    pairs the last; None where it is above 0 for none.
    """
    both = (carried.T @ carried).tocsr()
    sizes = both.diagonal()
    best, found = 0.0, None
    # Part by part: a tag may have nearly as many contexts as there are tags.
    for part in chunks(len(sizes), len(sizes)):
        for one, shared in enumerate(both[part].toarray(), part.start):
            apart = np.minimum(sizes[one], sizes) - 2 * shared
            apart[: one + 1] = 0
            other = len(apart) - 1 - int(apart[::-1].argmax())
            if apart[other] > 0 and apart[other] >= best:
                best, found = float(apart[other]), (one, other)
    return found


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
        shares[place] = np.isin(rows[place], _carriers(by_tag, int(tag))).mean()
    return np.asarray(shares.mean(axis=1), dtype=np.float64)


def _carriers(by_tag: Any, tag: int) -> Int64Array:
    """The images that carry a tag, rising. by_tag: the 0/1 matrix [images, tags] by columns."""
    return np.asarray(by_tag.indices[by_tag.indptr[tag] : by_tag.indptr[tag + 1]], dtype=np.int64)


def filtered_rows(raw: Float32Array, carries: Float32Array, k: int) -> Int64Array:
    """Baseline: what carries the tag first, then by likeness. raw, carries: [num_queries, num_indexed]."""
    return top_k(raw + np.float32(2) * carries, k)
