"""The contact sheet: every query, stop and result has its place."""

from __future__ import annotations

import pytest
from PIL import Image

from app.sheet import CONCEPTUAL_COLOUR, VISUAL_COLOUR, SheetResult, SheetRow, draw_sheet

RED = (200, 0, 0)


def result(visual: float, conceptual: float, tags: tuple[str, ...] = ("dog", "puppy")) -> SheetResult:
    return SheetResult(Image.new("RGB", (64, 64), RED), visual + conceptual, visual, conceptual, tags)


def count(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    colours = sheet.getcolors(sheet.width * sheet.height)
    assert colours is not None
    return sum(number for number, seen in colours if seen == colour)


def test_a_sheet_grows_with_its_queries_and_stops() -> None:
    row = SheetRow(None, "text: dog", ((result(0.5, 0.2),),))
    wide = SheetRow(None, "text: dog", ((result(0.5, 0.2),),) * 3)

    one, three = draw_sheet([row], [0.5]), draw_sheet([wide, wide], [0, 0.5, 1])

    assert three.width > 2 * one.width
    assert three.height > 1.5 * one.height


def test_the_bar_shows_both_parts_of_the_score_in_proportion() -> None:
    sheet = draw_sheet([SheetRow(None, "dog", ((result(0.6, 0.2),),))], [0.5])
    nothing = draw_sheet([SheetRow(None, "dog", ((result(0.0, 0.0),),))], [0.5])  # the legend alone

    visual = count(sheet, VISUAL_COLOUR) - count(nothing, VISUAL_COLOUR)
    conceptual = count(sheet, CONCEPTUAL_COLOUR) - count(nothing, CONCEPTUAL_COLOUR)
    assert visual == pytest.approx(3 * conceptual, rel=0.05)


def test_pictures_keep_their_shape() -> None:
    tall = SheetResult(Image.new("RGB", (20, 200), RED), 1.0, 1.0, 0.0, ())

    sheet = draw_sheet([SheetRow(None, "tall", ((tall,),))], [1])

    assert 0 < count(sheet, RED) < 136 * 20


def test_odd_queries_are_drawn_too() -> None:
    unseen = SheetResult(None, -0.1, -0.3, 0.2, ("a" * 300, "日本", "Ünïcode"))
    rows = [
        SheetRow(Image.new("L", (300, 5)), "word " * 200, ((), (unseen,) * 9)),
        SheetRow(Image.new("RGBA", (1, 1)), "", ((), ())),
    ]

    assert draw_sheet(rows, [0, 1]).mode == "RGB"


def test_a_row_without_a_cell_for_every_stop_is_refused() -> None:
    with pytest.raises(ValueError, match="cell for each stop"):
        draw_sheet([SheetRow(None, "dog", ((),))], [0, 1])
