"""One numbering for both node types: image i is node i, tag t is node num_images + t."""

from __future__ import annotations

import numpy as np

from graph_store.arrays import BoolArray, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph


def node_degrees(graph: Graph) -> Int64Array:
    """[num_images + num_tags] int64: the edges that each node receives over, of all relations."""
    return np.concatenate(
        [
            graph.similar.degrees() + graph.tags_of_image.degrees(),
            graph.images_of_tag.degrees() + graph.related.degrees(),
        ]
    )


class LinkSet:
    """Answers whether node v sends to node u, for many pairs at once. 8 bytes an edge."""

    def __init__(self, graph: Graph) -> None:
        images = graph.num_images
        self._nodes = images + graph.num_tags
        parts = [
            self._keys(graph.similar, 0, 0),
            self._keys(graph.tags_of_image, 0, images),
            self._keys(graph.images_of_tag, images, 0),
            self._keys(graph.related, images, images),
        ]
        self._sorted = np.sort(np.concatenate(parts))

    def _keys(self, csr: Csr, row_offset: int, col_offset: int) -> Int64Array:
        return (csr.edge_rows() + row_offset) * self._nodes + csr.indices + col_offset

    def contains(self, rows: Int64Array, cols: Int64Array) -> BoolArray:
        """rows and cols broadcast against each other; true where there is an edge cols → rows."""
        keys = rows * self._nodes + cols
        if self._sorted.size == 0:
            return np.zeros(keys.shape, dtype=np.bool_)
        places = np.minimum(np.searchsorted(self._sorted, keys), self._sorted.size - 1)
        found: BoolArray = self._sorted[places] == keys
        return found
