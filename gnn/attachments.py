"""How the nodes of a question are attached to one graph: their edges, and the states that those give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gnn.attach import attach, inputs_of
from gnn.model.edge_weights import similar_messages, tag_messages
from gnn.picture_alone import Found
from gnn.query_nodes import Node
from gnn.stored_images import StoredImages
from gnn.trained_model import TrainedModel
from graph_store.arrays import BoolArray, Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.exact import MARGIN
from graph_store.neighbour_index import NeighbourIndex


@dataclass(frozen=True, eq=False)
class Attachments:
    """image_states, tag_states: h^0..h^(L-1) of all nodes of the graph; neighbours: over its images; images:
    those that a question may name by row; kept: [n] the rows that may become neighbours, None for all.
    """

    trained: TrainedModel
    neighbours: NeighbourIndex
    images: StoredImages
    image_states: Sequence[Float32Array]
    tag_states: Sequence[Float32Array]
    kept: Int64Array | None = None

    def states(self, inputs: Tensor, similar: Csr, tags: Csr) -> list[Tensor]:
        """h^0..h^L of nodes with these inputs and message-weighted edges."""
        return attach(self.trained.model, inputs, similar, tags, self.image_states, self.tag_states)

    def embeddings(self, features: Float32Array, similar: Csr, tags: Csr) -> Float32Array:
        """[n, dim] of nodes with these features [n, feature_dim] and edges; weights as the graph stores
        them.
        """
        weights = self.trained.preset.weights
        states = self.states(
            inputs_of(self.trained.model, features),
            similar_messages(similar, weights),
            tag_messages(tags, weights),
        )
        result: Float32Array = self.trained.model.embed_images(states).numpy()
        return result

    def pictures(self, features: Float32Array, tags: Csr) -> tuple[Float32Array, Csr]:
        """Embeddings [n, dim] of new pictures, as the index would hold them, and their `similar` edges, to
        `kept` rows as those of a question.

        features: [n, feature_dim]; tags: n rows over the graph's tags.
        """
        similar = self.neighbour_edges(self.trained.space(features))
        return self.embeddings(features, similar, tags), similar

    def may_join(self, features: Float32Array, similar: Csr, rows: Int64Array) -> BoolArray:
        """[n]: which of the pictures with these features [n, feature_dim] and `similar` edges might be joined
        to one of `rows` [at least 1] too, were that kept: all that would be, and hardly another.
        """
        how = self.trained.preset.graph
        full = similar.degrees() == how.neighbours
        least = np.full(similar.num_rows, how.threshold, dtype=np.float32)
        least[full] = similar.weights[similar.indptr[1:][full] - 1]  # nearest first
        nearest = (self.trained.space(features) @ self.neighbours.vectors[rows].T).max(axis=1)
        joined: BoolArray = nearest >= least - MARGIN
        return joined

    def similar_edges(self, vectors: Float32Array, nodes: Sequence[Node]) -> Csr:
        """The message-weighted `similar` edges of each node: searched for a new picture, stored for an
        indexed one, none where it is attached by tags only. vectors: the nodes as neighbours are searched.
        """
        weights = self.trained.preset.weights
        searched = [node.looks and node.row is None for node in nodes]
        if all(searched):
            return similar_messages(self.neighbour_edges(vectors), weights)
        rows: list[Int64Array] = []
        edges: list[tuple[Int64Array, Float32Array]] = []
        new = np.flatnonzero(searched)
        if new.size:
            found = self.neighbour_edges(vectors[new])
            rows.append(new[found.edge_rows()])
            edges.append((found.indices, found.weights))
        for place, node in enumerate(nodes):
            if node.looks and node.row is not None:
                edges.append(self.images.similar(node.row))
                rows.append(np.full(len(edges[-1][0]), place, dtype=np.int64))
        if not rows:
            return Csr.empty(len(nodes))
        found = Csr.from_edges(
            np.concatenate(rows),
            np.concatenate([senders for senders, _ in edges]),
            np.concatenate([cosines for _, cosines in edges]),
            len(nodes),
        )
        return similar_messages(found, weights)

    def neighbour_edges(self, vectors: Float32Array) -> Csr:
        """`similar` edges of new pictures, given as neighbours are searched; weights = cosines."""
        rows, cosines = self.nearest(vectors)
        kept = rows >= 0
        return Csr.from_rows(kept.sum(axis=1), rows[kept], cosines[kept])

    def nearest(self, vectors: Float32Array) -> Found:
        """Rows and cosines of the images that new pictures are joined to."""
        how = self.trained.preset.graph
        return self.neighbours.search(vectors, how.neighbours, how.threshold, self.kept)

    def tag_edges(self, nodes: Sequence[Node]) -> Csr:
        """The message-weighted tag edges of each node."""
        edges = [edge for node in nodes for edge in node.tags]
        if not edges:
            return Csr.empty(len(nodes))
        told = Csr.from_rows(
            [len(node.tags) for node in nodes],
            [edge.tag for edge in edges],
            [edge.weight for edge in edges],
        )
        return tag_messages(told, self.trained.preset.weights)
