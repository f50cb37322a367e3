"""From edge weights as stored (cosines, tag weights) to the weights of a mean: each row sums to one.

Pure functions of one relation. The same functions weigh the rows of the whole graph and the row of a query,
so that an attached query equals a node of the graph. Rows without edges stay empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from graph_store.arrays import AnyArray, Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph

Weighting = Literal["uniform", "proportional", "softmax"]


def uniform(csr: Csr) -> Csr:
    """Every edge of a row weighs 1/degree: the mean aggregator of GraphSAGE (Hamilton et al. 2017, §3.3)."""
    degrees = np.maximum(csr.degrees(), 1)
    return with_weights(csr, np.repeat(1.0 / degrees, csr.degrees()))


def proportional(csr: Csr) -> Csr:
    """Edges weigh in proportion to their stored weight; negative ones count as zero.

    A row whose weights are all zero or negative falls back to the uniform mean.
    """
    weights = np.maximum(csr.weights.astype(np.float64), 0.0)
    return with_weights(csr, _normalised(csr, weights))


def softmax(csr: Csr, temperature: float) -> Csr:
    """Edges weigh as softmax over the row of (stored weight x temperature).

    0 is the uniform mean; 20 is the kernel of the tag vote in the design's baseline table.
    """
    logits = csr.weights.astype(np.float64) * temperature
    logits -= np.repeat(_reduce_rows(np.maximum, csr, logits), csr.degrees())
    return with_weights(csr, _normalised(csr, np.exp(logits)))


def weigh(csr: Csr, weighting: Weighting, temperature: float = 1.0) -> Csr:
    """One of the three by name; ``temperature`` matters to softmax only."""
    if not csr.num_edges:
        return csr
    if weighting == "uniform":
        return uniform(csr)
    return proportional(csr) if weighting == "proportional" else softmax(csr, temperature)


def weigh_row(weights: Float32Array, weighting: Weighting, temperature: float = 1.0) -> Float32Array:
    """`weigh` of the stored weights [n] of a single row, in a tenth of the time."""
    if not len(weights) or weighting == "uniform":
        return np.full(len(weights), 1 / max(len(weights), 1), np.float32)
    heavy = weights.astype(np.float64)
    if weighting == "softmax":
        heavy *= temperature
        heavy = np.exp(heavy - heavy.max())
    else:
        np.maximum(heavy, 0, out=heavy)
    total = heavy.sum()
    if total <= 0:
        return weigh_row(weights, "uniform")
    result: Float32Array = (heavy / total).astype(np.float32)
    return result


def cap_degree(csr: Csr, max_degree: int, seed: int = 0) -> Csr:
    """Keep the ``max_degree`` heaviest edges of each row; other rows are untouched, order included.

    Ties are broken as if at random, by ``seed`` and by what is in the row: whatever other rows come with it,
    a row keeps the same edges. A tag's images all weigh 1, and breaking ties by index would let only the
    images that were ingested first speak for a frequent tag.
    """
    degrees = csr.degrees()
    if csr.num_rows == 0 or int(degrees.max(initial=0)) <= max_degree:
        return csr
    rows = csr.edge_rows()
    contents = np.repeat(np.add.reduceat(csr.indices, csr.indptr[:-1][degrees > 0]), degrees[degrees > 0])
    chance = _scrambled(csr.indices, _scrambled(contents, np.full(len(contents), seed)))
    order = np.lexsort((chance, -csr.weights.astype(np.float64), rows))
    rank = np.arange(csr.num_edges) - csr.indptr[rows]
    kept = np.sort(order[rank < max_degree])
    return Csr.from_edges(rows[kept], csr.indices[kept], csr.weights[kept], csr.num_rows)


def cap_row(
    senders: Int64Array, weights: Float32Array, max_degree: int | None, seed: int = 0
) -> tuple[Int64Array, Float32Array]:
    """`cap_degree` of a single row, senders and stored weights [n]; None = no cap."""
    if max_degree is None or len(senders) <= max_degree:
        return senders, weights
    return cap_degree(Csr.from_rows([len(senders)], senders, weights), max_degree, seed).row(0)


def _scrambled(numbers: AnyArray, salt: AnyArray) -> AnyArray:
    """[n] uint64 that look random, the same for the same pair of integers (the finalizer of SplitMix64,
    Steele et al. 2014).
    """
    mixed: AnyArray = numbers.astype(np.uint64) + salt.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


@dataclass(frozen=True)
class MessageWeights:
    """How each relation of a graph is weighed. ``max_degree`` caps every row (None = no cap)."""

    similar: Weighting = "uniform"
    similar_temperature: float = 20.0
    tags: Weighting = "uniform"
    images: Weighting = "uniform"
    related: Weighting = "uniform"
    max_degree: int | None = 100
    seed: int = 0


def message_graph(graph: Graph, how: MessageWeights) -> Graph:
    """The graph that messages flow on: degrees capped, and the weights of each row a mean."""
    return Graph(
        graph.num_images,
        graph.num_tags,
        similar_messages(graph.similar, how),
        tag_messages(graph.tags_of_image, how),
        _messages(graph.images_of_tag, how.images, how),
        _messages(graph.related, how.related, how),
    )


def similar_messages(similar: Csr, how: MessageWeights) -> Csr:
    """`similar` edges with stored weights → what an image, of the graph or attached to it, hears."""
    return _messages(similar, how.similar, how)


def tag_messages(tags: Csr, how: MessageWeights) -> Csr:
    """The same for the tags of images."""
    return _messages(tags, how.tags, how)


def _messages(csr: Csr, weighting: Weighting, how: MessageWeights) -> Csr:
    capped = csr if how.max_degree is None else cap_degree(csr, how.max_degree, how.seed)
    return weigh(capped, weighting, how.similar_temperature)


def with_weights(csr: Csr, weights: AnyArray) -> Csr:
    """The same edges with other weights [num_edges]."""
    return Csr(csr.indptr, csr.indices, np.asarray(weights, dtype=np.float32))


def _normalised(csr: Csr, weights: AnyArray) -> Float32Array:
    """Non-negative weights [num_edges] divided by their row's sum, uniform where that sum is zero."""
    degrees = csr.degrees()
    sums = np.repeat(_reduce_rows(np.add, csr, weights), degrees)
    mean = np.repeat(1.0 / np.maximum(degrees, 1), degrees)
    safe = np.where(sums > 0, sums, 1.0)
    return np.where(sums > 0, weights / safe, mean).astype(np.float32)


def _reduce_rows(reduction: np.ufunc, csr: Csr, values: AnyArray) -> AnyArray:
    """The reduction of each row's values, [num_rows]; 0 for an empty row."""
    result = np.zeros(csr.num_rows)
    filled = np.flatnonzero(csr.degrees())
    # reduceat over the starts of non-empty rows only: it would misread an empty row as its successor.
    if filled.size:
        result[filled] = reduction.reduceat(values, csr.indptr[filled])
    return result
