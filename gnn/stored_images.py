"""What is known of the images that a query may name by row."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from gnn.graph_index import GraphIndex
from graph_store.arrays import Float32Array, Int64Array

Edges = tuple[Int64Array, Float32Array]
"""Senders and stored weights, both [n]."""


class StoredImages(Protocol):
    """Features and edges by row."""

    def features(self, row: int) -> Float32Array:
        """[feature_dim]: the encoder's features."""

    def tags(self, row: int) -> Edges:
        """The tags of the graph that the image carries."""

    def similar(self, row: int) -> Edges:
        """The images of the graph that it is joined to, weights = cosines."""


class IndexedImages:
    """Those of one index."""

    def __init__(self, index: GraphIndex) -> None:
        self._features = index.features
        self._graph = index.graph

    def features(self, row: int) -> Float32Array:
        """[feature_dim]: the encoder's features."""
        return np.array(self._features[row])

    def tags(self, row: int) -> Edges:
        """The tags that the image carries."""
        return self._graph.tags_of_image.row(row)

    def similar(self, row: int) -> Edges:
        """The images that it is joined to, weights = cosines."""
        return self._graph.similar.row(row)
