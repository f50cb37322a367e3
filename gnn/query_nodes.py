"""What a query consists of: the nodes that it attaches, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gnn.words import TagEdge
from graph_store.arrays import Float32Array

Kind = Literal["image", "tags", "mixed"]


@dataclass(frozen=True, eq=False)
class Node:
    """One node that a query attaches: features [feature_dim], its share of the query, the tags that it is
    attached to, its row where it is an indexed image, and whether it has `similar` images. `picture`: which
    of the query's pictures it is, None for the node that stands for its words and tags; `asked`: whether
    tags are asked for beside the picture, more than those that an indexed image has; `described`: whether a
    text longer than a name is among what its tags come from; `told`: how much its tags and words weigh, each
    named thing once.
    """

    features: Float32Array
    weight: float
    tags: tuple[TagEdge, ...]
    row: int | None
    looks: bool
    picture: int | None
    asked: bool = False
    described: bool = False
    told: float = 0.0


@dataclass(frozen=True, eq=False)
class Resolved:
    """What a query is attached with; `unwanted` has positive weights. The nodes' order is not that of the
    query, so that the order of asking does not matter.
    """

    kind: Kind
    nodes: tuple[Node, ...]
    unwanted: tuple[TagEdge, ...]
