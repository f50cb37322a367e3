"""Draws a contact sheet: a row for each query, a column for each stop of the slider, results in every cell.

It shows at a look what the slider does, and it is made of pictures only, so it can be read without a browser.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from PIL import Image, ImageDraw, ImageFont

RESULTS_SHOWN = 6
_ACROSS = 3  # results side by side in a cell
_TILE = 136  # side of a picture, in pixels
_GAP = 10
_CAPTION = 52  # under a picture: the bar, the score, the tags
_MARGIN = 24
_HEADER = 70
_QUERY_WIDTH = 220

_PAPER = (250, 250, 248)
_INK = (30, 32, 36)
_PALE_INK = (110, 114, 122)
_LINE = (222, 222, 218)
VISUAL_COLOUR = (45, 110, 190)
CONCEPTUAL_COLOUR = (226, 135, 40)


@dataclass(frozen=True)
class SheetResult:
    """One result: its thumbnail (None when there is none) and the score with its two parts."""

    picture: Image.Image | None
    score: float
    visual: float
    conceptual: float
    tags: tuple[str, ...]


@dataclass(frozen=True)
class SheetRow:
    """One query: its picture (None for words only), what it asks in words, and the results at each stop."""

    picture: Image.Image | None
    label: str
    cells: tuple[tuple[SheetResult, ...], ...]


def draw_sheet(rows: Sequence[SheetRow], stops: Sequence[float]) -> Image.Image:
    """The sheet as an RGB picture. Every row must have one cell for each stop (ValueError otherwise)."""
    if not rows or any(len(row.cells) != len(stops) for row in rows):
        raise ValueError("a sheet needs at least one row, and a cell for each stop in every row")
    cell_width = _ACROSS * _TILE + (_ACROSS - 1) * _GAP
    lines = max(1, -(-max(len(cell[:RESULTS_SHOWN]) for row in rows for cell in row.cells) // _ACROSS))
    row_height = lines * (_TILE + _CAPTION) + 2 * _GAP
    width = 2 * _MARGIN + _QUERY_WIDTH + len(stops) * (cell_width + 2 * _MARGIN)
    sheet = Image.new("RGB", (width, _HEADER + len(rows) * row_height + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    lefts = [_MARGIN + _QUERY_WIDTH + _MARGIN + i * (cell_width + 2 * _MARGIN) for i in range(len(stops))]
    _draw_header(pen, lefts, stops)
    for index, row in enumerate(rows):
        top = _HEADER + index * row_height
        pen.line((_MARGIN, top, width - _MARGIN, top), fill=_LINE, width=1)
        _draw_query(sheet, pen, row, top + _GAP)
        for left, cell in zip(lefts, row.cells, strict=True):
            _draw_cell(sheet, pen, cell, left, top + _GAP)
    return sheet


def _draw_header(pen: ImageDraw.ImageDraw, lefts: Sequence[int], stops: Sequence[float]) -> None:
    pen.text((_MARGIN, 16), "query", font=font(20), fill=_INK)
    pen.rectangle((_MARGIN, 48, _MARGIN + 10, 58), fill=VISUAL_COLOUR)
    pen.text((_MARGIN + 14, 45), "visual", font=font(13), fill=_PALE_INK)
    pen.rectangle((_MARGIN + 66, 48, _MARGIN + 76, 58), fill=CONCEPTUAL_COLOUR)
    pen.text((_MARGIN + 80, 45), "conceptual", font=font(13), fill=_PALE_INK)
    meanings = {0.0: "what it is about", 1.0: "what it looks like"}
    for left, stop in zip(lefts, stops, strict=True):
        pen.text((left, 16), f"visual weight {stop:g}", font=font(20), fill=_INK)
        pen.text((left, 45), meanings.get(stop, ""), font=font(13), fill=_PALE_INK)


def _draw_query(sheet: Image.Image, pen: ImageDraw.ImageDraw, row: SheetRow, top: int) -> None:
    side = _QUERY_WIDTH - 2 * _GAP
    below = top
    if row.picture is not None:
        _paste(sheet, row.picture, _MARGIN, top, side)
        below = top + side + 8
    for line in _wrapped(row.label, font(15), side, lines=5):
        pen.text((_MARGIN, below), line, font=font(15), fill=_INK)
        below += 21


def _draw_cell(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, cell: Sequence[SheetResult], left: int, top: int
) -> None:
    if not cell:
        pen.text((left, top), "no result", font=font(15), fill=_PALE_INK)
    best = max((abs(result.score) for result in cell), default=0.0) or 1.0
    for index, result in enumerate(cell[:RESULTS_SHOWN]):
        x = left + (index % _ACROSS) * (_TILE + _GAP)
        y = top + (index // _ACROSS) * (_TILE + _CAPTION)
        if result.picture is None:
            pen.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), outline=_LINE)
            pen.text((x + 8, y + 8), "no picture", font=font(13), fill=_PALE_INK)
        else:
            _paste(sheet, result.picture, x, y, _TILE)
        _draw_bar(pen, result, best, x, y + _TILE + 4)
        caption = f"{result.score:.2f}  {', '.join(result.tags)}"
        for line_number, line in enumerate(_wrapped(caption, font(12), _TILE, lines=2)):
            pen.text((x, y + _TILE + 14 + line_number * 15), line, font=font(12), fill=_INK)


def _draw_bar(pen: ImageDraw.ImageDraw, result: SheetResult, best: float, x: int, y: int) -> None:
    """The two parts of the score end to end; the cell's best score fills the tile's width. A part below 0 is
    not drawn: the number beside it says the rest."""
    pen.rectangle((x, y, x + _TILE - 1, y + 5), fill=_LINE)
    left = float(x)
    for part, colour in ((result.visual, VISUAL_COLOUR), (result.conceptual, CONCEPTUAL_COLOUR)):
        length = min(max(part, 0.0) / best * _TILE, x + _TILE - left)
        if length >= 1:
            pen.rectangle((left, y, left + length - 1, y + 5), fill=colour)
            left += length


def _paste(sheet: Image.Image, picture: Image.Image, x: int, y: int, side: int) -> None:
    """The whole picture inside a square of `side`, centred, on white."""
    small = picture.convert("RGB")
    scale = side / max(small.size)
    size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
    small = small.resize(size, Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (side, side), (255, 255, 255))
    tile.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    sheet.paste(tile, (x, y))


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans out of matplotlib's package: the same on every machine, and it has far more letters than
    Pillow's own font."""
    return ImageFont.truetype(str(files("matplotlib") / "mpl-data/fonts/ttf/DejaVuSans.ttf"), size)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int, lines: int) -> list[str]:
    """`text` broken at spaces into at most `lines` lines of `width` pixels; what does not fit ends in '…'."""
    done: list[str] = []
    words = text.split()
    while words:
        line = _cut(words.pop(0), font, width)
        while words and font.getlength(f"{line} {words[0]}") <= width:
            line = f"{line} {words.pop(0)}"
        if len(done) == lines - 1 and words:
            return [*done, _cut(" ".join([line, *words]), font, width)]
        done.append(line)
    return done


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """`text` as it is, or as much of it as fits before '…'."""
    if font.getlength(text) <= width:
        return text
    kept = text
    while kept and font.getlength(f"{kept}…") > width:
        kept = kept[:-1]
    return f"{kept.rstrip()}…"
