"""Why a result is there: the edges that the query was given, and the tags that spoke for each result."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.ranking import Page
from app.serving_state import ServingState
from gnn.query import QueryVectors

_MOST_TAGS = 10
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
    """For each result, those of its `tags` that spoke for it or against it, the strongest first.

    The contribution of a tag is what it alone would add to the conceptual part of the score of an image that
    carries it. Tags share directions, so contributions need not add up to that part.
    """
    share = vectors.weights(visual_weight)[1]
    return [{"tags": _spoken(state, vectors, share, row)} for row in page.rows]


def _spoken(state: ServingState, vectors: QueryVectors, share: float, row: int) -> list[dict[str, Any]]:
    tags = state.engine.graph.tags_of_image.row(row)[0]
    if share == 0 or len(tags) == 0:
        return []
    contributions = share * state.engine.tag_affinity(vectors, tags).astype(np.float64)
    order = np.argsort(-np.abs(contributions), kind="stable")[:_MOST_TAGS]
    loudest = abs(float(contributions[order[0]]))
    return [
        {
            "name": state.engine.tag_names[int(tags[i])],
            "contribution": round(float(contributions[i]), _DECIMALS),
        }
        for i in order
        if abs(contributions[i]) > max(_QUIET * loudest, 10**-_DECIMALS)
    ]
