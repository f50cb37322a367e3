"""A validation part cut out of the graph: some images lose their tags, as if they were new queries."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from graph_store.arrays import BoolArray, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph


class Holdout(NamedTuple):
    """``graph`` without the tag edges of ``images`` [v]; ``hidden``: those edges, row i for images[i]."""

    graph: Graph
    images: Int64Array
    hidden: Csr


def drawn_images(tags_of_image: Csr, share: float, limit: int, rng: np.random.Generator) -> Int64Array:
    """[v] a random ``share`` of the tagged images (at least one, at most ``limit``), rising.

    With fewer than two tagged images nothing is held out: there would be nothing left to learn from.
    """
    tagged = np.flatnonzero(tags_of_image.degrees())
    count = min(max(round(share * tagged.size), 1), limit) if tagged.size >= 2 else 0
    return np.sort(rng.choice(tagged, size=count, replace=False)).astype(np.int64)


def hold_out(graph: Graph, images: Int64Array, given: Csr | None = None) -> Holdout:
    """Hide all tags of ``images`` [v].

    given: the catalogue's tags of all images, where those of the graph have been judged: an image is held out
    with the tags that it came with.
    """
    held = np.zeros(graph.num_images, dtype=np.bool_)
    held[images] = True
    has, carriers = graph.tags_of_image, graph.images_of_tag
    thinned = replace(
        graph,
        tags_of_image=_keep(has, ~held[has.edge_rows()]),
        images_of_tag=_keep(carriers, ~held[carriers.indices]),
    )
    return Holdout(thinned, images, (has if given is None else given).take(images))


def _keep(csr: Csr, kept: BoolArray) -> Csr:
    return Csr.from_edges(csr.edge_rows()[kept], csr.indices[kept], csr.weights[kept], csr.num_rows)
