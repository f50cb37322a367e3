"""The edges of one picture, as they are told to a client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr

_DECIMALS = 6

Edges = tuple[Int64Array, Float32Array]
NamedEdge = tuple[str, float]


def neighbours_as_json(
    similar: Edges,
    tags: Sequence[NamedEdge],
    related: Csr,
    ids: Sequence[str],
    names: Sequence[str],
    numbers: Mapping[str, int],
) -> dict[str, Any]:
    """similar: by row of `ids`; tags: by name; related: tags of the graph, by the `numbers` of their `names`.

    A tag that the graph does not know has no relations there.
    """
    nearest = sorted(zip(*similar, strict=True), key=lambda edge: (-_rounded(edge[1]), edge[0]))
    return {
        "similar": [{"id": ids[int(row)], "weight": _rounded(weight)} for row, weight in nearest],
        "tags": _weighted(tags),
        "related": {
            name: _weighted(named(related.row(numbers[name]), names)) for name, _ in tags if name in numbers
        },
    }


def named(edges: Edges, names: Sequence[str]) -> list[NamedEdge]:
    """Edges to tags, by name."""
    return [(names[int(tag)], float(weight)) for tag, weight in zip(*edges, strict=True)]


def _weighted(edges: Sequence[NamedEdge]) -> list[dict[str, Any]]:
    ordered = sorted(edges, key=lambda edge: (-_rounded(edge[1]), edge[0]))
    return [{"name": name, "weight": _rounded(weight)} for name, weight in ordered]


def _rounded(weight: float) -> float:
    return round(float(weight), _DECIMALS)
