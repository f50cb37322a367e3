"""Pixels of any kind to RGB, a strip at a time: a large picture is never in memory twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

_STRIP_PIXELS = 2**20
"""One strip in double precision takes 8 MB, and its conversion some of these."""

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_DEEP_GREY = (*_SIXTEEN_BIT, "I", "F")
_LAYERED = ("RGBA", "LA", "PA", "La", "RGBa")


def to_rgb(image: Image, shrink: int = 1) -> Image:
    """The picture in RGB, transparency over white, each side divided by `shrink` (blocks of pixels become
    their mean). `image` must be loaded.
    """
    from PIL import Image as images

    if image.mode == "RGB" and "transparency" not in image.info:
        return image if shrink == 1 else image.reduce(shrink)
    span = _range_of(image) if image.mode in _DEEP_GREY else None
    width, height = image.size
    if width * height <= _STRIP_PIXELS and shrink == 1:
        return _converted(image, span)
    whole = images.new("RGB", (-(-width // shrink), -(-height // shrink)))
    for top, strip in _strips(image, shrink):
        piece = _converted(strip, span)
        whole.paste(piece if shrink == 1 else piece.reduce(shrink), (0, top // shrink))
    return whole


def _strips(image: Image, multiple: int = 1) -> Iterator[tuple[int, Image]]:
    """(first row, strip) from top to bottom; all but the last have a multiple of so many rows."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // (width * multiple)) * multiple
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(height, top + rows)))


def _converted(image: Image, span: tuple[float, float] | None) -> Image:
    from PIL import Image as images

    if span is not None:
        return _from_deep_grey(image, *span)
    if image.mode in _LAYERED or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = images.new("RGBA", layered.size, (255, 255, 255, 255))
        return images.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def _values(image: Image) -> NDArray[np.float64]:
    values: Any = np.asarray(image, dtype=np.float64)
    plain: NDArray[np.float64] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return plain


def _range_of(image: Image) -> tuple[float, float]:
    """What is to be black and what white: of floating-point values their own range, else the usual one."""
    lows, highs = zip(
        *((values.min(), values.max()) for _, strip in _strips(image) for values in [_values(strip)]),
        strict=True,
    )
    low, high = float(min(lows)), float(max(highs))
    if image.mode == "F":
        return low, high
    usual = 65535.0 if image.mode in _SIXTEEN_BIT or high > 255 else 255.0
    return 0.0, max(usual, high)


def _from_deep_grey(image: Image, low: float, high: float) -> Image:
    """Grey of 16 or 32 bits to 8: Pillow's own conversion would cut everything above 255 to white."""
    from PIL import Image as images

    values = _values(image)
    scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    return images.fromarray(scaled.round().clip(0, 255).astype(np.uint8)).convert("RGB")
