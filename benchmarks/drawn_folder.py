"""A folder of drawn scenes: up to three shapes on a ground, tagged by the folder's name and a file beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (205, 50, 45),
    "orange": (240, 140, 30),
    "yellow": (240, 210, 40),
    "green": (50, 150, 70),
    "blue": (45, 90, 200),
    "violet": (130, 70, 170),
    "white": (245, 245, 245),
    "black": (25, 25, 25),
}
SHAPES = ("disc", "box", "triangle", "cross", "bar", "ring")
GROUNDS = {"sky": (170, 205, 235), "sand": (226, 205, 160), "grass": (120, 165, 95), "night": (35, 38, 70)}
PATTERNS = ("plain", "stripes", "dots")
SIDE = 160
PICTURES = 1500
_TOLD = 0.7


def write_folder(folder: Path, pictures: int = PICTURES, seed: int = 0) -> None:
    """`folder`/<ground>/<number>.png, with the tags that somebody thought of in <number>.txt beside it: each
    of colours, shapes and pattern with a chance of 7 in 10. The same seed gives the same folder.
    """
    rng = np.random.default_rng(seed)
    for number in range(pictures):
        ground, pattern = str(rng.choice(list(GROUNDS))), str(rng.choice(PATTERNS))
        many = int(rng.integers(1, 4))
        shapes = [(str(rng.choice(SHAPES)), str(rng.choice(list(COLOURS)))) for _ in range(many)]
        place = folder / ground
        place.mkdir(parents=True, exist_ok=True)
        scene(ground, pattern, shapes, rng).save(place / f"{number:04}.png")
        shown = sorted({pattern, *(word for pair in shapes for word in pair)})
        told = [word for word in shown if rng.random() < _TOLD]
        (place / f"{number:04}.txt").write_text("\n".join(told), encoding="utf-8")


def scene(ground: str, pattern: str, shapes: list[tuple[str, str]], rng: np.random.Generator) -> Image.Image:
    """The picture."""
    image = Image.new("RGB", (SIDE, SIDE), GROUNDS[ground])
    pen = ImageDraw.Draw(image)
    darker = (GROUNDS[ground][0] - 25, GROUNDS[ground][1] - 25, GROUNDS[ground][2] - 25)
    for x in range(8, SIDE, 20):
        if pattern == "stripes":
            pen.line((x, 0, x, SIDE), fill=darker, width=6)
        elif pattern == "dots":
            for y in range(8, SIDE, 20):
                pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=darker)
    for shape, colour in shapes:
        _draw(
            pen, shape, COLOURS[colour], *rng.integers(35, SIDE - 35, 2).tolist(), int(rng.integers(18, 36))
        )
    return image


def _draw(pen: ImageDraw.ImageDraw, shape: str, fill: tuple[int, int, int], x: int, y: int, r: int) -> None:
    box = (x - r, y - r, x + r, y + r)
    if shape == "disc":
        pen.ellipse(box, fill=fill)
    elif shape == "ring":
        pen.ellipse(box, outline=fill, width=r // 3)
    elif shape == "box":
        pen.rectangle(box, fill=fill)
    elif shape == "triangle":
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=fill)
    elif shape == "bar":
        pen.rectangle((x - r, y - r // 4, x + r, y + r // 4), fill=fill)
    else:
        pen.rectangle((x - r, y - r // 5, x + r, y + r // 5), fill=fill)
        pen.rectangle((x - r // 5, y - r, x + r // 5, y + r), fill=fill)
