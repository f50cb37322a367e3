"""A small catalogue of drawn shapes: real pictures with tags that an image model can learn, made in a second.

120 pictures: 6 colours x 5 shapes x 4 variants (size and place). Tags say the colour, the shape, the size and
whether the shape is round or has corners, so that tags relate to what is seen and to one another. About one
in six is ``split: "test"`` and three of the indexed ones carry no tags. The same seed gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 48, 49),
    "green": (39, 174, 96),
    "blue": (41, 98, 255),
    "yellow": (245, 205, 30),
    "purple": (142, 68, 173),
    "black": (30, 30, 30),
}
SHAPES = ("circle", "ring", "square", "triangle", "star")
ROUND = frozenset({"circle", "ring"})
SIZES = {"small": 0.22, "large": 0.40}
IMAGE_SIDE = 96


@dataclass(frozen=True)
class Shape:
    """One picture to draw. `centre` and `radius` are shares of the picture's side, in [0, 1]."""

    colour: str
    shape: str
    size: str
    variant: int
    centre: tuple[float, float]
    radius: float

    @property
    def id(self) -> str:
        return f"{self.size}-{self.colour}-{self.shape}-{self.variant}"

    @property
    def tags(self) -> list[str]:
        corners = "round" if self.shape in ROUND else "corners"
        return [self.colour, self.shape, self.size, corners]


def all_shapes(seed: int = 0) -> list[Shape]:
    """The 120 shapes, in a fixed order."""
    rng = np.random.default_rng(seed)
    shapes = []
    for colour in COLOURS:
        for shape in SHAPES:
            for size, radius in SIZES.items():
                for variant in range(2):
                    x, y = 0.5 + (rng.random(2) - 0.5) * 0.16
                    scale = radius * (0.9 + 0.2 * rng.random())
                    shapes.append(Shape(colour, shape, size, variant, (float(x), float(y)), float(scale)))
    return shapes


def draw(shape: Shape, side: int = IMAGE_SIDE) -> Image.Image:
    """One filled shape on a light ground, drawn at four times the size and shrunk for smooth edges."""
    big = side * 4
    image = Image.new("RGB", (big, big), (244, 243, 238))
    pen = ImageDraw.Draw(image)
    x, y = shape.centre[0] * big, shape.centre[1] * big
    r = shape.radius * big
    fill = COLOURS[shape.colour]
    box = (x - r, y - r, x + r, y + r)
    if shape.shape == "circle":
        pen.ellipse(box, fill=fill)
    elif shape.shape == "ring":
        pen.ellipse(box, outline=fill, width=int(r * 0.4))
    elif shape.shape == "square":
        pen.rectangle((x - r * 0.85, y - r * 0.85, x + r * 0.85, y + r * 0.85), fill=fill)
    else:
        pen.polygon(_corners(shape.shape, x, y, r), fill=fill)
    return image.resize((side, side), Image.Resampling.LANCZOS)


def _corners(shape: str, x: float, y: float, r: float) -> list[tuple[float, float]]:
    radii = [r] * 3 if shape == "triangle" else [r, r * 0.42] * 5
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False) - np.pi / 2
    return [(x + radius * np.cos(a), y + radius * np.sin(a)) for radius, a in zip(radii, angles, strict=True)]


def is_test(image_id: str) -> bool:
    """The fixed split: by a hash of the id, so that it never moves when pictures are added."""
    return hashlib.sha256(image_id.encode()).digest()[0] % 6 == 0


def untagged_ids(shapes: list[Shape]) -> list[str]:
    """Three indexed pictures that carry no tags: a catalogue's tags are never complete."""
    return [s.id for s in shapes if not is_test(s.id)][::34][:3]


def rows(shapes: list[Shape]) -> list[dict[str, Any]]:
    """The lines of ``tags.jsonl``, with attributes to filter by: `area` a number, `shape_group` a word."""
    bare = set(untagged_ids(shapes))
    lines = []
    for s in shapes:
        line: dict[str, Any] = {
            "image": f"images/{s.id}.png",
            "id": s.id,
            "tags": [] if s.id in bare else s.tags,
            "split": "test" if is_test(s.id) else "train",
            "caption": f"a {s.size} {s.colour} {s.shape}",
            "area": round(s.radius**2, 4),
            "shape_group": "round" if s.shape in ROUND else "corners",
        }
        lines.append(line)
    return lines


def write_shapes(folder: Path, seed: int = 0) -> Path:
    """Draws all pictures under `folder`/images, writes `folder`/tags.jsonl and returns its path."""
    shapes = all_shapes(seed)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for shape in shapes:
        draw(shape).save(images / f"{shape.id}.png")
    source = folder / "tags.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows(shapes)), encoding="utf-8")
    return source
