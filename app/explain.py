"""Why a result is there: the edges that the query was given, and the tags that spoke for each result."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.ranking import Page
from app.serving_state import ServingState
from gnn.query import QueryVectors

_MOST_TAGS = 10
_DECIMALS = 6


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


def explain_hits(state: ServingState, vectors: QueryVectors, page: Page) -> list[list[dict[str, Any]]]:
    """For each result, the tags of its own that the query is near to, with what each stands for.

    The conceptual part of a score is shared out over the result's tags in proportion to how near the query
    is to each of them (their likeness to the query's conceptual vector, negative where it points away).
    """
    return [
        _spoken(state, vectors, row, conceptual)
        for row, conceptual in zip(page.rows, page.conceptual, strict=True)
    ]


def _spoken(state: ServingState, vectors: QueryVectors, row: int, conceptual: float) -> list[dict[str, Any]]:
    tags = state.engine.graph.tags_of_image.row(row)[0]
    names = state.engine.tag_names
    asked = {tag: weight for tag, weight, _ in vectors.edges.tags}
    near = np.array([asked.get(int(tag), 0.0) for tag in tags])
    whole = float(np.abs(near).sum())
    shares = near / whole * abs(conceptual) if whole else near
    order = np.argsort(-np.abs(shares), kind="stable")[:_MOST_TAGS]
    return [
        {"name": names[int(tags[i])], "contribution": round(float(shares[i]), _DECIMALS)}
        for i in order
        if shares[i]
    ]
