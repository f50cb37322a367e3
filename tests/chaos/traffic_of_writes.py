"""What a client does to a service that may be killed at any moment, and what it may rely on afterwards."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from tests.shapes import COLOURS, SHAPES, Shape, draw

IDS = tuple(f"upserted-{number}" for number in range(12))

Tags = frozenset[str]
Known = Mapping[str, Tags | None]
"""By id the tags of a picture; None for one that is not there."""


@dataclass
class Ledger:
    """`sure`: what the last answers said. `open`: what the request under way asked for, which may have come
    about or not.
    """

    sure: dict[str, Tags | None] = field(default_factory=dict)
    open: dict[str, Tags | None] = field(default_factory=dict)
    answered: int = 0

    def begin(self, change: Known) -> None:
        """A request is about to be sent."""
        self.open = dict(change)

    def acknowledged(self) -> None:
        """It was answered with 2xx."""
        self.sure |= self.open
        self.open = {}
        self.answered += 1

    def allows(self, image_id: str, tags: Tags | None) -> bool:
        """Whether the picture may be as it is now."""
        return tags in (self.sure.get(image_id), self.open.get(image_id, self.sure.get(image_id)))

    def settle(self, found: Known) -> None:
        """What became of the request under way has been seen."""
        for image_id in self.open:
            self.sure[image_id] = found.get(image_id)
        self.open = {}


def writes(seed: int) -> Iterator[tuple[str, str, Any, Known]]:
    """(method, path, body, what it makes of which pictures) of one write after another, without end."""
    rng = np.random.default_rng(seed)
    for step in itertools.count():
        chosen = [str(name) for name in rng.choice(IDS, size=2, replace=False)]
        tags = frozenset({f"write {seed}.{step}", str(rng.choice(list(COLOURS)))})
        if step % 3 == 0:
            images = [{"id": name, "image": {"data": _picture(rng)}, "tags": sorted(tags)} for name in chosen]
            yield "POST", "/v1/images", {"images": images}, dict.fromkeys(chosen, tags)
        elif step % 3 == 1:
            yield "DELETE", f"/v1/images/{chosen[0]}", None, {chosen[0]: None}
        else:
            yield "PATCH", f"/v1/images/{chosen[0]}", {"tags": sorted(tags)}, {chosen[0]: tags}


def write_until_killed(client: httpx.Client, ledger: Ledger, seed: int, most: int) -> None:
    """At most so many writes, or fewer when the service is gone. Raises AssertionError for an answer that is
    none of those that a sound service gives.
    """
    for method, path, body, change in itertools.islice(writes(seed), most):
        absent = all(ledger.sure.get(name) is None for name in change)
        ledger.begin(change if method == "POST" or not absent else {})
        try:
            answer = client.request(method, path, json=body)
        except httpx.TransportError:
            return
        if answer.status_code == 404 and method != "POST" and absent:
            continue
        assert answer.status_code == 200, (method, path, answer.status_code, answer.text)
        ledger.acknowledged()


def _picture(rng: np.random.Generator) -> str:
    shape = Shape(
        colour=str(rng.choice(list(COLOURS))),
        shape=str(rng.choice(SHAPES)),
        size="large",
        variant=0,
        centre=(float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.3, 0.7))),
        radius=float(rng.uniform(0.2, 0.4)),
    )
    buffer = io.BytesIO()
    draw(shape, 64).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
