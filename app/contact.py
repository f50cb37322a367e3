"""Fills a contact sheet with the answers of a lookup."""

from __future__ import annotations

from PIL import Image

from app.lookup import Asked, Lookup, Question
from app.sheet import RESULTS_SHOWN, SheetResult, SheetRow


def sheet_row(lookup: Lookup, question: Question, asked: Asked, stops: tuple[float, ...]) -> SheetRow:
    """The row of one question: its picture and, for each stop, the first results with their thumbnails."""
    cells = tuple(
        tuple(
            SheetResult(
                picture=lookup.thumbnail(found.id),
                score=found.score,
                visual=found.visual,
                conceptual=found.conceptual,
                tags=found.tags,
            )
            for found in lookup.find(asked, stop, RESULTS_SHOWN)
        )
        for stop in stops
    )
    return SheetRow(_picture(lookup, question), question.label, cells)


def _picture(lookup: Lookup, question: Question) -> Image.Image | None:
    if question.picture is not None:
        return lookup.decoded(question.picture)
    return lookup.thumbnail(question.image_id) if question.image_id is not None else None
