"""Random walks over images and tags, all walkers a step at a time.

From an image a walker goes to a similar image or to one of its tags; from a tag to one of its images or to
a related tag. So image - similar - image and image - tag - image walks both occur, mixed by chance. Nodes
are in the joint numbering of :mod:`gnn.sampling.nodes`. Nodes that meet on short walks are the positive
pairs of the unsupervised loss (Perozzi et al. 2014; Hamilton et al. 2017, §3.2).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graph_store.arrays import BoolArray, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph


class Pairs(NamedTuple):
    """``source`` and ``target`` [p]: node ids that met on one walk, never equal."""

    source: Int64Array
    target: Int64Array


class RandomWalker:
    """Walks on one graph. ``crossing``: the chance to change node type (image → tag, tag → image) at a step.

    A node without edges of the chosen kind takes the other kind; a node without any edge stays where it is.
    Edges of a row are equally likely.
    """

    def __init__(self, graph: Graph, image_crossing: float = 0.5, tag_crossing: float = 0.9) -> None:
        self.graph = graph
        self.image_crossing = image_crossing
        self.tag_crossing = tag_crossing

    def walk(self, starts: Int64Array, length: int, rng: np.random.Generator) -> Int64Array:
        """starts [n] → [n, length + 1] node ids; column 0 is the start."""
        path = np.empty((len(starts), length + 1), dtype=np.int64)
        path[:, 0] = starts
        for step in range(length):
            path[:, step + 1] = self._step(path[:, step], rng)
        return path

    def _step(self, nodes: Int64Array, rng: np.random.Generator) -> Int64Array:
        graph, images = self.graph, self.graph.num_images
        chance, pick = rng.random(len(nodes)), rng.random(len(nodes))
        result = nodes.copy()
        at_image = nodes < images
        for here, offset, stay, cross, to_cross, stay_offset, cross_offset in (
            (at_image, 0, graph.similar, graph.tags_of_image, self.image_crossing, 0, images),
            (~at_image, images, graph.related, graph.images_of_tag, self.tag_crossing, images, 0),
        ):
            rows = nodes[here] - offset
            crosses = _choose(_has_edges(stay, rows), _has_edges(cross, rows), chance[here] < to_cross)
            moved = np.where(
                crosses,
                _pick(cross, rows, pick[here], nodes[here] - cross_offset) + cross_offset,
                _pick(stay, rows, pick[here], nodes[here] - stay_offset) + stay_offset,
            )
            result[here] = moved
        return result


def _has_edges(csr: Csr, rows: Int64Array) -> BoolArray:
    found: BoolArray = csr.indptr[rows + 1] > csr.indptr[rows]
    return found


def _choose(can_stay: BoolArray, can_cross: BoolArray, wants_cross: BoolArray) -> BoolArray:
    """Whether to cross: as wished where both are possible, else whichever is."""
    return can_cross & (wants_cross | ~can_stay)


def _pick(csr: Csr, rows: Int64Array, chance: np.ndarray, otherwise: Int64Array) -> Int64Array:
    """One random neighbour of each row; ``otherwise`` where a row has no edges."""
    if csr.num_edges == 0:
        return otherwise
    first = csr.indptr[rows]
    degree = csr.indptr[rows + 1] - first
    offset = np.minimum((chance * degree).astype(np.int64), np.maximum(degree - 1, 0))
    edge = np.minimum(first + offset, csr.num_edges - 1)
    return np.where(degree > 0, csr.indices[edge], otherwise)


def pairs_from_start(paths: Int64Array, rng: np.random.Generator) -> Pairs:
    """One pair a walk: its start, and the node at one random later place; walks that stayed are left out."""
    steps = rng.integers(1, paths.shape[1], size=len(paths))
    target = paths[np.arange(len(paths)), steps]
    moved = target != paths[:, 0]
    return Pairs(paths[moved, 0], target[moved])


def window_pairs(paths: Int64Array, window: int) -> Pairs:
    """All pairs of nodes at most ``window`` steps apart on a walk, in walking direction (skip-gram)."""
    length = paths.shape[1]
    spans = [
        (paths[:, :-gap].ravel(), paths[:, gap:].ravel()) for gap in range(1, min(window, length - 1) + 1)
    ]
    if not spans:
        empty = np.zeros(0, dtype=np.int64)
        return Pairs(empty, empty)
    source = np.concatenate([a for a, _ in spans])
    target = np.concatenate([b for _, b in spans])
    differ = source != target
    return Pairs(source[differ], target[differ])
