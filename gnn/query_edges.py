"""What the nodes of a query are worth and what they are joined to, summed up over the query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gnn.query_nodes import Resolved
from gnn.query_types import AttachedEdges
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.errors import EmptyQuery

_MOST_REFUSED = 100.0


def shares(asked: Resolved) -> Float32Array:
    """[nodes]: the nodes' shares of the query, whose sizes add up to one."""
    # In double precision, since weights may all be too small for single.
    weights = np.array([node.weight for node in asked.nodes], dtype=np.float64)
    result: Float32Array = (weights / np.abs(weights).sum()).astype(np.float32)
    return result


def refused_edges(queries: Sequence[Resolved]) -> Csr:
    """The tags that each node's query refuses, with their weights: a row a node, in order."""
    unwanted = [asked.unwanted for asked in queries for _ in asked.nodes]
    edges = [edge for each in unwanted for edge in each]
    return Csr.from_rows(
        [len(each) for each in unwanted], [edge.tag for edge in edges], [edge.weight for edge in edges]
    )


def told_weight(asked: Resolved) -> float:
    """The weight of the tags and words that the nodes to be like are told, in the mean over these nodes."""
    liked = [node for node in asked.nodes if node.weight > 0]
    total = sum(node.weight * node.told for node in liked)
    return total / sum(node.weight for node in liked)


def refusals(asked: Resolved, beside_looks: float) -> Float32Array:
    """[unwanted]: how much of its vector each refused tag takes away. beside_looks: of weight 1, where the
    query's pictures to be like are told no tag.
    """
    told = told_weight(asked)
    asked_for = np.array([edge.weight for edge in asked.unwanted], dtype=np.float64)
    if told == 0:
        return (asked_for * beside_looks).astype(np.float32)
    # What is refused a hundred times as much as anything is asked for decides alone, and more is only noise.
    result: Float32Array = np.minimum(asked_for / told, _MOST_REFUSED).astype(np.float32)
    return result


def all_refused(asked: Resolved) -> bool:
    """Whether the query is made of tags alone and refuses each of them as much as it asks for it."""
    refused = {edge.tag: edge.weight for edge in asked.unwanted}
    told = [edge for node in asked.nodes if node.weight > 0 for edge in node.tags]
    return asked.kind == "tags" and all(refused.get(edge.tag, 0.0) >= edge.weight for edge in told)


def cancelled() -> EmptyQuery:
    """What is raised where nothing is left of a query."""
    return EmptyQuery("The parts of the query cancel", hint="Take out what is both asked for and refused.")


def listed_edges(asked: Resolved, places: Sequence[int] | Int64Array, similar: Csr) -> AttachedEdges:
    """Each node's edges by its share of the query: those of pictures to be unlike have negative weights."""
    images: dict[int, float] = {}
    tags: dict[tuple[int, str], float] = {}
    for place, node, share in zip(places, asked.nodes, shares(asked).tolist(), strict=True):
        for row, weight in zip(*similar.row(int(place)), strict=True):
            images[int(row)] = images.get(int(row), 0.0) + share * float(weight)
        for edge in node.tags:
            key = (edge.tag, edge.asked_as)
            tags[key] = tags.get(key, 0.0) + share * edge.weight
    wanted = [(tag, weight, asked_as) for (tag, asked_as), weight in tags.items()]
    refused = [(edge.tag, -edge.weight, edge.asked_as) for edge in asked.unwanted]
    return AttachedEdges(tuple(images.items()), tuple(wanted + refused))


def most_similar(asked: Resolved, places: Sequence[int] | Int64Array, similar: Csr) -> int | None:
    """The image that the query's only picture looks most like; None where the query asks or refuses more."""
    node, *others = asked.nodes
    rows, weights = similar.row(int(places[0]))
    if others or node.tags or node.weight < 0 or asked.unwanted or not len(rows):
        return None
    return int(rows[weights.argmax()])
