"""`related` edges: tags that mean alike, or that are used together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from graph_store.arrays import AnyArray, Float32Array
from graph_store.csr import Csr
from graph_store.exact import pair_scores
from graph_store.similar import similar_edges

_AT_ONCE = 10_000_000
"""Pairs of tags that are looked at together."""


def related_edges(
    tag_features: Float32Array,
    tags_of_image: Csr,
    k: int,
    text_threshold: float,
    min_cooccurrence: int,
    alike: Csr | None = None,
) -> Csr:
    """Edges from each tag to at most k others, heaviest first, ties by lower index.

    tag_features: [t, d] float32, unit norm. A pair is joined when its text cosine is at least
    `text_threshold`, or when at least `min_cooccurrence` images carry both and they do so more often than
    chance. The weight, in (0, 1], is the larger of the cosine and the normalised pointwise mutual
    information, each counted only where it passes its own condition: a text cosine below the threshold is
    noise, and must not lift a chance pair. alike: the edges of `similar_edges` between tag features by that
    k and threshold, where they are known.
    """
    num_tags = len(tag_features)
    together = cooccurrence_edges(tags_of_image, num_tags, min_cooccurrence)
    rows, cols = together.edge_rows(), together.indices
    features = np.ascontiguousarray(tag_features, dtype=np.float32)
    cosine = pair_scores(features[rows], features, cols[:, None])[:, 0]
    weights = np.maximum(together.weights, np.where(cosine >= text_threshold, cosine, 0))
    if alike is None:
        alike = similar_edges(features, k, text_threshold)
    alike_weights = np.where(alike.weights > 0, alike.weights, np.finfo(np.float32).tiny)
    rows = np.concatenate([rows, alike.edge_rows()])
    cols = np.concatenate([cols, alike.indices])
    weights = np.clip(np.concatenate([weights, alike_weights]), 0.0, 1.0)
    # Of two edges between the same tags the heavier stays.
    order = np.lexsort((-weights, cols, rows))
    rows, cols, weights = rows[order], cols[order], weights[order]
    first = np.ones(len(rows), np.bool_)
    first[1:] = (rows[1:] != rows[:-1]) | (cols[1:] != cols[:-1])
    return Csr.from_edges(rows[first], cols[first], weights[first], num_tags).truncate(k)


def cooccurrence_edges(tags_of_image: Csr, num_tags: int, min_cooccurrence: int) -> Csr:
    """Pairs of tags that at least `min_cooccurrence` images share, where their NPMI is above 0; weight =
    NPMI.

    NPMI(a, b) = ln(p(a, b) / (p(a) p(b))) / -ln p(a, b), in [-1, 1] (Bouma 2009, "Normalized (Pointwise)
    Mutual Information in Collocation Extraction", Eq. 8), with p the share of images. Tags that are on every
    image tell nothing: their NPMI is taken as 0.
    """
    num_images = tags_of_image.num_rows
    has = sparse.csr_matrix(
        (np.ones(tags_of_image.num_edges, np.int32), tags_of_image.indices, tags_of_image.indptr),
        shape=(num_images, num_tags),
    )
    has.sum_duplicates()
    has.data[:] = 1
    of_tag = has.T.tocsr()
    counts = np.diff(of_tag.indptr).astype(np.int64)
    found: list[tuple[AnyArray, AnyArray, AnyArray]] = []
    # Most pairs of a large vocabulary are met once or twice: all of them at once would fill the memory.
    for start, stop in _blocks(np.minimum(of_tag @ np.diff(has.indptr), num_tags)):
        shared = (of_tag[start:stop] @ has).tocoo()
        rows, cols, images = shared.row + start, shared.col, shared.data
        kept = (rows != cols) & (images >= max(1, min_cooccurrence)) & (images < num_images)
        rows, cols, images = rows[kept], cols[kept], images[kept]
        share = images / max(1, num_images)
        expected = counts[rows] * counts[cols] / max(1, num_images) ** 2
        npmi = np.log(share / expected) / -np.log(share)
        above = npmi > 0
        found.append((rows[above], cols[above], npmi[above].astype(np.float32)))
    if not found:
        return Csr.empty(num_tags)
    receivers, senders, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Csr.from_edges(receivers, senders, weights, num_tags)


def _blocks(pairs: AnyArray) -> Iterator[tuple[int, int]]:
    """Runs of rows that have about _AT_ONCE pairs together. pairs: [t], the most that each may have."""
    block = np.cumsum(pairs, dtype=np.int64) // _AT_ONCE
    ends = np.append(np.flatnonzero(np.diff(block)) + 1, len(pairs)) if len(pairs) else np.zeros(0, np.int64)
    start = 0
    for stop in ends.tolist():
        yield start, stop
        start = stop
