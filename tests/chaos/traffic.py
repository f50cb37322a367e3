"""Mixed traffic against a running service, without end but bounded in what it stores."""

from __future__ import annotations

import base64
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.shapes import COLOURS, SHAPES, Shape, draw

OWN_PICTURES = 24
"""So many ids a visitor stores pictures under, again and again: the catalogue does not grow without end."""

_WORDS = ("a crimson ball", "something with corners", "a dark thing", "sunny colours", "a five-pointed shape")


@dataclass
class Visitor:
    """One client who does a bit of everything, each call drawn at random. `known`: ids that nobody removes.

    Raises AssertionError for an answer that is not the one to be expected.
    """

    client: httpx.Client
    name: str
    known: list[str]
    seed: int = 0
    stored: dict[str, Shape] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._calls: dict[Callable[[], None], int] = {
            self.search_by_id: 20,
            self.search_by_tags: 12,
            self.search_by_words: 4,
            self.search_with_a_filter: 6,
            self.search_by_upload: 6,
            self.search_in_the_body: 4,
            self.search_several: 2,
            self.turn_pages: 4,
            self.predict: 4,
            self.look_at_a_picture: 10,
            self.complete: 4,
            self.read_status: 3,
            self.ask_wrongly: 3,
            self.upsert: 6,
            self.describe: 5,
            self.delete: 4,
        }

    def call(self) -> None:
        """One visit: one request, or a few that belong together."""
        (chosen,) = self._random.choices(list(self._calls), list(self._calls.values()))
        chosen()

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return self.calls.total()

    # -- reading

    def search_by_id(self) -> None:
        self._search(image={"id": self._any_id()}, visual_weight=round(self._random.random(), 2))

    def search_by_tags(self) -> None:
        tags: list[Any] = self._random.sample([*COLOURS, *SHAPES, "small", "large"], 2)
        if self._random.random() < 0.3:
            tags[1] = {"name": tags[1], "weight": -0.5}
        self._search(tags=tags, explain=self._random.random() < 0.2)

    def search_by_words(self) -> None:
        # New words each time: nothing that was ever asked may be kept for good.
        self._search(text=f"{self._random.choice(_WORDS)} {self._random.randrange(10**9)}")

    def search_with_a_filter(self) -> None:
        bound = round(self._random.random() * 0.2, 4)
        clause: dict[str, Any] = {"key": "area", "range": {"gte": bound}}
        if self._random.random() < 0.3:
            clause = {"key": f"no such key {self._random.randrange(10**9)}", "exists": False}
        diversity = self._random.choice([0, 0.3])
        self._search(image={"id": self._any_id()}, filter={"must": [clause]}, diversity=diversity)

    def search_by_upload(self) -> None:
        files = {
            "image": ("picture.png", self._picture(self._shape()), "image/png"),
            "query": (None, json.dumps({"limit": 10}), "application/json"),
        }
        self._expect(200, self.client.post("/v1/search/upload", files=files), "upload")

    def search_in_the_body(self) -> None:
        self._search(image={"data": self._encoded(self._shape())}, tags=["red"], collapse=0.95)

    def search_several(self) -> None:
        queries = [{"image": {"id": self._any_id()}, "limit": 5} for _ in range(4)]
        self._expect(200, self.client.post("/v1/search/batch", json={"queries": queries}), "batch")

    def turn_pages(self) -> None:
        body = {"tags": [self._random.choice(list(COLOURS))], "limit": 15}
        answer = self._search(**body)
        for _ in range(4):
            if answer["next_cursor"] is None:
                return
            response = self.client.post("/v1/search", json={**body, "cursor": answer["next_cursor"]})
            if response.status_code == 410:  # two reindexes later its snapshot may be gone
                self.calls["gone"] += 1
                return
            answer = self._expect(200, response, "page").json()

    def predict(self) -> None:
        body = {"image": {"id": self._random.choice(self.known)}, "limit": 5}
        self._expect(200, self.client.post("/v1/tags/predict", json=body), "predict")

    def look_at_a_picture(self) -> None:
        part = self._random.choice(["", "/thumbnail", "/file", "/neighbors"])
        self._expect(200, self.client.get(f"/v1/images/{self._any_id()}{part}"), f"image{part}")

    def complete(self) -> None:
        prefix = self._random.choice(["r", "sq", "la", "", "zz"])
        self._expect(200, self.client.get("/v1/tags", params={"prefix": prefix}), "tags")

    def read_status(self) -> None:
        path = self._random.choice(["/metrics", "/readyz", "/livez", "/v1/index", "/", "/static/main.js"])
        self._expect(200, self.client.get(path), "status")

    def ask_wrongly(self) -> None:
        number = self._random.randrange(10**9)
        self._expect(404, self.client.get(f"/v1/images/nobody-{number}"), "wrong")
        self._expect(422, self.client.post("/v1/search", json={"limit": number}), "wrong")
        broken = self.client.post("/v1/search", json={"image": {"data": "bm8gcGljdHVyZQ=="}})
        self._expect(422, broken, "wrong")

    # -- writing

    def move_in(self) -> None:
        """Store all own pictures at once, so that encoders have met as large a batch as they ever will: what
        they keep for it is theirs for good.
        """
        self._store(range(OWN_PICTURES))

    def upsert(self) -> None:
        self._store({self._random.randrange(OWN_PICTURES) for _ in range(self._random.randrange(1, 4))})

    def _store(self, numbers: Iterable[int]) -> None:
        images = []
        for number in numbers:
            shape = self._shape()
            image_id = f"{self.name}-{number}"
            self.stored[image_id] = shape
            images.append(
                {
                    "id": image_id,
                    "image": {"data": self._encoded(shape)},
                    "tags": shape.tags,
                    "attributes": {"area": self._random.random()},
                }
            )
        answer = self._expect(200, self.client.post("/v1/images", json={"images": images}), "upsert")
        assert answer.json()["failed"] == 0, answer.text

    def describe(self) -> None:
        if self.stored:
            body = {"tags": self._shape().tags, "attributes": {"area": self._random.random()}}
            image_id = self._random.choice(sorted(self.stored))
            self._expect(200, self.client.patch(f"/v1/images/{image_id}", json=body), "describe")

    def delete(self) -> None:
        if self.stored:
            image_id = self._random.choice(sorted(self.stored))
            del self.stored[image_id]
            self._expect(200, self.client.delete(f"/v1/images/{image_id}"), "delete")

    # -- inside

    def _search(self, **body: Any) -> dict[str, Any]:
        body = {"limit": self._random.choice([10, 20, 50]), **body}
        answer = self._expect(200, self.client.post("/v1/search", json=body), "search").json()
        assert answer["hits"] or "filter" in body, body
        found: dict[str, Any] = answer
        return found

    def _expect(self, status: int, response: httpx.Response, name: str) -> httpx.Response:
        assert response.status_code == status, f"{name}: {response.status_code} {response.text[:500]}"
        self.calls[name] += 1
        return response

    def _any_id(self) -> str:
        return self._random.choice([*self.known, *self.stored])

    def _shape(self) -> Shape:
        shape = Shape(
            self._random.choice(list(COLOURS)),
            self._random.choice(SHAPES),
            self._random.choice(["small", "large"]),
            0,
            (0.4 + 0.2 * self._random.random(), 0.4 + 0.2 * self._random.random()),
            0.2 + 0.2 * self._random.random(),
        )
        return shape

    @staticmethod
    def _picture(shape: Shape) -> bytes:
        buffer = io.BytesIO()
        draw(shape, 64).save(buffer, "PNG")
        return buffer.getvalue()

    def _encoded(self, shape: Shape) -> str:
        return base64.b64encode(self._picture(shape)).decode()
