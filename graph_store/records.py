"""What the catalogue knows about one image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Split = Literal["train", "test"]


LEAST_WEIGHT, MOST_WEIGHT = 1e-9, 1e9
"""Edges are held in float32, in which sums and squares of weights must neither vanish nor overflow."""


def weight_fault(weight: float) -> str:
    """What is wrong with the weight of a `has` edge ("is not above 0"); empty when nothing is."""
    if not weight > 0:
        return "is not above 0"
    if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        return f"is not between {LEAST_WEIGHT:g} and {MOST_WEIGHT:g}"
    return ""


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag of one image. `weight` is the strength of the `has` edge; see `weight_fault`."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image as the catalogue holds it.

    `row` is the image's row in the feature file. `sha256` is that of the original bytes (None when only
    features were given), and names its thumbnail. `fingerprint` is what ingestion compares to know that
    nothing changed. `width` and `height` are in pixels, after EXIF rotation.
    """

    id: str
    path: str | None = None
    tags: tuple[Tag, ...] = ()
    split: Split = "train"
    caption: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    row: int = 0
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where what belongs to an image lies: its feature row, and the files named after its original bytes."""

    id: str
    row: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Skip:
    """One item that was seen and not stored, with the reason a person can act on.

    `source` is the file it came from, `line` its 1-based line there, `item` the id or name of what was
    skipped.
    """

    source: str
    line: int | None
    reason: str
    item: str = ""
