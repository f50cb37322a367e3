"""Draws the pictures of a list of results side by side, with their places, for the terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

from app.sheet import font

TILE_COLUMNS, TILE_ROWS = 14, 7  # about a square: a character is about twice as high as wide
_TILE = 160  # side in pixels, enough for a fine screen
_GAP = 8
_PAPER = (250, 250, 248)
_INK = (30, 32, 36)
_LINE = (222, 222, 218)


@dataclass(frozen=True)
class Strip:
    """A PNG file, and how many columns and rows of characters it is meant to cover."""

    png: bytes
    columns: int
    rows: int


def draw_strip(pictures: Sequence[Image.Image | None], width: int) -> Strip:
    """The pictures in order, from left to right and top to bottom, numbered from 1.

    `width` is that of the terminal in characters; None is a picture that is missing. Raises ValueError
    without pictures.
    """
    if not pictures:
        raise ValueError("there are no pictures to draw")
    across = max(1, min(len(pictures), width // TILE_COLUMNS))
    down = -(-len(pictures) // across)
    strip = Image.new("RGB", (across * _TILE, down * _TILE), _PAPER)
    pen = ImageDraw.Draw(strip)
    for number, picture in enumerate(pictures):
        left, top = number % across * _TILE, number // across * _TILE
        inside = _TILE - _GAP
        if picture is None:
            pen.rectangle((left, top, left + inside - 1, top + inside - 1), outline=_LINE)
        else:
            strip.paste(ImageOps.pad(picture.convert("RGB"), (inside, inside), color=_PAPER), (left, top))
        label = str(number + 1)
        box = (left, top, left + 12 + round(font(18).getlength(label)), top + 26)
        pen.rectangle(box, fill=_PAPER)
        pen.text((left + 6, top + 2), label, font=font(18), fill=_INK)
    file = io.BytesIO()
    strip.save(file, format="PNG")
    return Strip(file.getvalue(), across * TILE_COLUMNS, down * TILE_ROWS)
