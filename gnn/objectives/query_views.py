"""Query views: every image a second time, attached as a question would be.

A view receives and is never received from, and it may lack tags that its image carries. Training on views
puts the loss where inference is: on nodes whose neighbours know more than they do (design, §3).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from graph_store.arrays import BoolArray
from graph_store.csr import Csr
from graph_store.graph import Graph

UNTAGGED_SHARE = 0.6


def kept_tags(tags_of_image: Csr, rng: np.random.Generator, untagged: float = UNTAGGED_SHARE) -> BoolArray:
    """[edges]: which tag edges the views keep. A share of the views keeps none; of the others, each keeps
    every tag with a chance of its own, even over 0 to 1.
    """
    chance = rng.random(tags_of_image.num_rows)
    chance[rng.random(tags_of_image.num_rows) < untagged] = 0.0
    kept: BoolArray = rng.random(tags_of_image.num_edges) < np.repeat(chance, tags_of_image.degrees())
    return kept


def with_views(graph: Graph, kept: BoolArray) -> Graph:
    """The graph with a view of image i as image num_images + i. kept: [edges of tags_of_image]."""
    has, num = graph.tags_of_image, graph.num_images
    rows = has.edge_rows()[kept]
    return replace(
        graph,
        num_images=2 * num,
        similar=_stacked(graph.similar, graph.similar),
        tags_of_image=_stacked(has, Csr.from_edges(rows, has.indices[kept], has.weights[kept], num)),
    )


def _stacked(upper: Csr, lower: Csr) -> Csr:
    return Csr(
        np.concatenate([upper.indptr, lower.indptr[1:] + upper.indptr[-1]]),
        np.concatenate([upper.indices, lower.indices]),
        np.concatenate([upper.weights, lower.weights]),
    )
