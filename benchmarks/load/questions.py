"""What the clients ask: pictures by their ids, with filters of which some are rare and some are not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

LIMIT = 20
QUESTIONS = 4000
YEARS = 12
"""So many of the 25 years a wide filter lets through: about half of the pictures."""


@dataclass(frozen=True)
class Asking:
    """One question: a picture, years that results must be of (first, end), and a tag that they must have."""

    image_id: str
    years: tuple[int, int] | None = None
    tag: str | None = None

    @property
    def body(self) -> bytes:
        """As the service is asked."""
        must: list[dict[str, Any]] = []
        if self.years is not None:
            must.append({"key": "year", "range": {"gte": self.years[0], "lt": self.years[1]}})
        if self.tag is not None:
            must.append({"key": "tags", "match": self.tag})
        asked: dict[str, Any] = {"image": {"id": self.image_id}, "limit": LIMIT}
        return json.dumps(asked | ({"filter": {"must": must}} if must else {})).encode()

    def admits(self, attributes: dict[str, Any], tags: Sequence[str]) -> bool:
        """Whether a picture with these may be found."""
        if self.years is not None and not self.years[0] <= attributes["year"] < self.years[1]:
            return False
        return self.tag is None or self.tag in tags


def surely_found(questions: Sequence[Asking], pictures: Mapping[str, dict[str, Any]]) -> list[int]:
    """For each question how many results there must be, up to `LIMIT`, while these pictures stay as they are.
    pictures: what is known of each by its id.
    """

    @cache
    def passing(years: tuple[int, int] | None, tag: str | None) -> set[str]:
        asked = Asking("", years, tag)
        return {
            name
            for name, known in pictures.items()
            if asked.admits(known["attributes"], [one["name"] for one in known["tags"]])
        }

    found = (passing(one.years, one.tag) for one in questions)
    return [
        min(LIMIT, len(names) - (one.image_id in names)) for one, names in zip(questions, found, strict=True)
    ]


def wide(ids: Sequence[str], count: int) -> list[Asking]:
    """At most `count` questions that about half of the pictures may answer."""
    rng = np.random.default_rng(3)
    rows = rng.permutation(len(ids))[:count]
    firsts = 2000 + rng.integers(0, 26 - YEARS, len(rows))
    return [
        Asking(ids[row], (first, first + YEARS))
        for row, first in zip(rows.tolist(), firsts.tolist(), strict=True)
    ]


def mixed(ids: Sequence[str], tags: Sequence[str], count: int) -> list[Asking]:
    """Every other question also demands one of a few tags, which about one picture in 270 then has."""
    return [
        Asking(one.image_id, one.years, tags[number % 4]) if number % 2 else one
        for number, one in enumerate(wide(ids, count))
    ]
