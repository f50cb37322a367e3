"""Why a result is there: the edges that the query was given, and the tags that spoke for each result."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.ranking import Page
from app.serving_state import ServingState
from gnn.query import Query, QueryVectors
from graph_store.arrays import AnyArray

_MOST_TAGS = 10
_MOST_NEIGHBOURS = 5
_MOST_EDGES = 100
_DECIMALS = 6
_QUIET = 0.05


def explain_edges(state: ServingState, vectors: QueryVectors) -> dict[str, Any]:
    """The query's edges: pictures by id, tags by name with the word that led to each; the heaviest first."""
    ids, names = state.engine.image_ids, state.engine.tag_names
    images = sorted(vectors.edges.images, key=lambda edge: (-edge[1], edge[0]))
    tags = sorted(vectors.edges.tags, key=lambda edge: (-abs(edge[1]), edge[0]))
    return {
        "images": [{"id": ids[row], "weight": round(float(weight), _DECIMALS)} for row, weight in images],
        "tags": [
            {"name": names[tag], "weight": round(float(weight), _DECIMALS), "asked_as": asked}
            for tag, weight, asked in tags
        ],
    }


def explain_hits(
    state: ServingState, vectors: QueryVectors, visual_weight: float, page: Page
) -> list[dict[str, Any]]:
    """For each result, those of its `tags` and of the query's neighbours that spoke for it or against it, the
    strongest first.

    The contribution of a tag is what it alone would add to the conceptual part of the score of an image that
    carries it; that of a neighbour, what its own meaning would add, by the weight of the query's edge to it.
    Both share directions with others of their kind, so contributions need not add up to that part.
    """
    share = vectors.slider.weights(visual_weight)[1]
    neighbours = _neighbours(state, vectors, share, page.rows)
    return [
        {"tags": _spoken(state, vectors, share, row), "neighbors": near}
        for row, near in zip(page.rows, neighbours, strict=True)
    ]


def _neighbours(
    state: ServingState, vectors: QueryVectors, share: float, rows: list[int]
) -> list[list[dict[str, Any]]]:
    edges = sorted(vectors.edges.images, key=lambda edge: (-abs(edge[1]), edge[0]))[:_MOST_EDGES]
    if share == 0 or not edges or not rows:
        return [[] for _ in rows]
    engine = state.engine
    meant = np.stack([engine.embed(Query(indexed_row=row)).conceptual for row, _ in edges])
    weights = share * np.array([weight for _, weight in edges])
    # [results, edges]
    contributions = (engine.image_vectors(np.array(rows)) @ meant.T).astype(np.float64) * weights
    return [
        [
            {"id": engine.image_ids[edges[i][0]], "contribution": round(float(line[i]), _DECIMALS)}
            for i in _loudest(line)[:_MOST_NEIGHBOURS]
        ]
        for line in contributions
    ]


def _spoken(state: ServingState, vectors: QueryVectors, share: float, row: int) -> list[dict[str, Any]]:
    tags = state.engine.tags_of(row)
    if share == 0 or len(tags) == 0:
        return []
    contributions = share * state.engine.tag_affinity(vectors, tags).astype(np.float64)
    order = _loudest(contributions)[:_MOST_TAGS]
    return [
        {
            "name": state.engine.tag_names[int(tags[i])],
            "contribution": round(float(contributions[i]), _DECIMALS),
        }
        for i in order
    ]


def _loudest(contributions: AnyArray) -> list[int]:
    """The places of those that are not quiet beside the loudest, the loudest first."""
    sizes = np.abs(contributions)
    least = max(_QUIET * float(sizes.max()), 10**-_DECIMALS)
    return [int(i) for i in np.argsort(-sizes, kind="stable") if sizes[i] > least]
