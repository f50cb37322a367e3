"""Stores and removes pictures all the while, looks at once whether searches know it, and remembers."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from imsage import Client, ImsageError
from imsage.write_calls import NewImage

AT_ONCE = 4
PAUSE_SECONDS = 0.25


@dataclass
class Written:
    """Ids with the time when their writing began (stored) or was answered (deleted), and what went wrong."""

    stored: dict[str, float] = field(default_factory=dict)
    deleted: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Writer(threading.Thread):
    """Writes until `end`. doomed: ids that it may delete."""

    def __init__(self, url: str, doomed: Sequence[str], tags: Sequence[str]) -> None:
        super().__init__(name="writer")
        self.written = Written()
        self._client = Client(url, timeout=120)
        self._doomed = list(doomed)
        self._tags = tags
        self._over = threading.Event()

    def end(self) -> Written:
        """What was written."""
        self._over.set()
        self.join()
        return self.written

    def run(self) -> None:
        """A round every now and then."""
        with self._client:
            number = 0
            while not self._over.is_set():
                try:
                    self._round(number)
                except (ImsageError, AssertionError) as error:
                    self.written.wrong.append(f"round {number}: {error}")
                number += 1
                self._over.wait(PAUSE_SECONDS)

    def _round(self, number: int) -> None:
        client, written = self._client, self.written
        ids = [f"load/{number:05d}-{place}.jpg" for place in range(AT_ONCE)]
        began = time.perf_counter()
        written.stored.update(dict.fromkeys(ids, began))
        attributes = {"year": 2000 + number % 25, "licence": "cc-by", "round": number}
        tags = [self._tags[number % len(self._tags)]]
        images: list[NewImage] = [
            {"id": one, "image": _picture(one), "tags": tags, "attributes": attributes} for one in ids
        ]
        stored = client.upsert(images)
        written.seconds.append(time.perf_counter() - began)
        assert stored.created + stored.replaced == AT_ONCE, stored
        self._expect(number, ids)
        gone = [ids[0], self._doomed.pop()]
        removed = client.delete(gone)
        written.deleted.update(dict.fromkeys(gone, time.perf_counter()))
        assert removed.deleted == len(gone), removed
        self._expect(number, ids[1:])
        for one in gone:
            try:
                client.search(image=one)
            except ImsageError as error:
                assert error.status == 404, error
            else:
                raise AssertionError(f"{one} was deleted and is still a question")

    def _expect(self, number: int, ids: Sequence[str]) -> None:
        answer = self._client.search(
            tags=[self._tags[0]], filter={"must": [{"key": "round", "match": number}]}, limit=10
        )
        found = {hit.id for hit in answer.hits}
        assert found == set(ids), f"{found} instead of {set(ids)}"


def _picture(name: str) -> bytes:
    """A small JPEG that is like no other."""
    rng = np.random.default_rng(list(name.encode()))
    image = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((256, 256))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
