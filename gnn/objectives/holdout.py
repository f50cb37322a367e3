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


def hold_out(graph: Graph, share: float, limit: int, rng: np.random.Generator) -> Holdout:
    """Hide all tags of a random ``share`` of the tagged images (at least one, at most ``limit``).

    With fewer than two tagged images nothing is held out: there would be nothing left to learn from.
    """
    tagged = np.flatnonzero(graph.tags_of_image.degrees())
    count = min(max(round(share * tagged.size), 1), limit) if tagged.size >= 2 else 0
    images = np.sort(rng.choice(tagged, size=count, replace=False)).astype(np.int64)
    held = np.zeros(graph.num_images, dtype=np.bool_)
    held[images] = True
    place = np.cumsum(held) - 1
    has = graph.tags_of_image
    rows = has.edge_rows()
    gone = held[rows]
    hidden = Csr.from_edges(place[rows[gone]], has.indices[gone], has.weights[gone], count)
    thinned = replace(
        graph,
        tags_of_image=_keep(has, ~gone),
        images_of_tag=_keep(graph.images_of_tag, ~held[graph.images_of_tag.indices]),
    )
    return Holdout(thinned, images, hidden)


def _keep(csr: Csr, kept: BoolArray) -> Csr:
    return Csr.from_edges(csr.edge_rows()[kept], csr.indices[kept], csr.weights[kept], csr.num_rows)
