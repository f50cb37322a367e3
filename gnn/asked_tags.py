"""What the nodes of a query ask for: sets of tags, each with the chance that it is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnn.query_edges import refused_edges
from gnn.query_nodes import Resolved
from gnn.words import TagEdge
from graph_store.arrays import BoolArray, Float32Array, Int64Array
from graph_store.csr import Csr


@dataclass(frozen=True, eq=False)
class AskedTags:
    """Of n nodes. wanted: y, n rows over the tags, in (0, 1]; named: [n], tags and no picture; unsure: [n],
    the nodes some of whose tags have a chance only; described: [n], those that a longer text speaks to;
    guessed: [n], those whose tags say only part of what is wanted (:mod:`gnn.told_pictures`); refusing: [n],
    pictures to be like without some tags, and with none told; refused: n rows of tags that are not to be
    guessed, as far as they weigh; similar: the nodes' message-weighted `similar` edges.
    """

    wanted: Csr
    named: BoolArray
    unsure: BoolArray
    described: BoolArray
    guessed: BoolArray
    refusing: BoolArray
    refused: Csr
    similar: Csr

    @classmethod
    def of(cls, queries: Sequence[Resolved], similar: Csr) -> AskedTags:
        """similar: the `similar` edges of the queries' nodes. Other tags are guessed of nodes with tags asked
        for, and with similar images to tell what they show.
        """
        nodes = [node for asked in queries for node in asked.nodes]
        edges = [edge for node in nodes for edge in node.tags]
        wanted = Csr.from_rows(
            [len(node.tags) for node in nodes],
            [edge.tag for edge in edges],
            np.concatenate([wanted_of(node.tags) for node in nodes]),
        )
        refused = refused_edges(queries)
        alone = [node.picture is not None and node.weight > 0 and not node.tags for node in nodes]
        return cls(
            wanted,
            np.array([bool(node.tags) and node.picture is None and not node.looks for node in nodes]),
            np.array([any(edge.chance < 1 for edge in node.tags) for node in nodes]),
            np.array([node.described for node in nodes]),
            np.array([node.asked for node in nodes]) & (similar.degrees() > 0),
            np.array(alone) & (refused.degrees() > 0),
            refused,
            similar,
        )

    def sets(self, rows: Int64Array, num_tags: int) -> Float32Array:
        """y of some nodes, [len(rows), num_tags]."""
        table = np.zeros((len(rows), num_tags), dtype=np.float32)
        told = self.wanted.take(rows)
        table[told.edge_rows(), told.indices] = told.weights
        return table


def wanted_of(edges: Sequence[TagEdge]) -> Float32Array:
    """y of a node with these edges, [len(edges)]: the chance that a tag is meant; less for one that is asked
    for less than the others.

    With a the weight that was asked for the words and p the chance that they mean this tag, a p is what the
    edge weighs, and y = p min(1, a Σ(a p) / Σ(a² p)): 1 for each of several equal tags, p for those that one
    word may mean.
    """
    chance = np.array([edge.chance for edge in edges], dtype=np.float64)
    weight = np.array([edge.weight for edge in edges], dtype=np.float64)
    weight /= max(weight.max(initial=0.0), 1e-300)  # or the squares of tiny weights would vanish
    asked = weight / chance
    level = weight.sum() / max(float((asked * weight).sum()), 1e-300)
    wanted: Float32Array = (chance * np.minimum(asked * level, 1.0)).astype(np.float32)
    return wanted
