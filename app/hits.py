"""The results of an answer as JSON, joined with what the snapshot knows of each picture."""

from __future__ import annotations

from typing import Any

import orjson

from app.ranking import Page
from app.serving_state import ServingState


def hits_of(state: ServingState, page: Page, why: list[dict[str, Any]] | None) -> list[orjson.Fragment]:
    """One JSON object a result, the best first. why: what explains each, where that was asked for."""
    ids = state.engine.image_ids
    dumps, fragment = orjson.dumps, orjson.Fragment
    hits = []
    for place, (row, score, visual, conceptual, record) in enumerate(
        zip(
            page.rows,
            page.score,
            page.visual,
            page.conceptual,
            state.fragments(page.rows),
            strict=True,
        )
    ):
        hit = {"id": ids[row], "score": score, "visual": visual, "conceptual": conceptual}
        if page.copies:
            hit["near_copies"] = [ids[copy] for copy in page.copies[place]]
        if why is not None:
            hit["explain"] = why[place]
        # Both are JSON objects: the end of the one and the beginning of the other become one comma.
        hits.append(fragment(dumps(hit)[:-1] + b"," + record[1:]))
    return hits
