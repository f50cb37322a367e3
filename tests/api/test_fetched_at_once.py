"""However many addresses questions name, only so many pictures are fetched, held and decoded at a time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from app import picture_finder
from app.api.schemas import ImageRef
from app.catalogue_reader import CatalogueReader
from app.picture_finder import PictureFinder
from app.serving_state import ServingState
from app.settings import Settings

pytestmark = pytest.mark.asyncio


class Held:
    """Pictures from being asked for until they are decoded."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def fetch(self, url: str) -> bytes:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        return b"a picture"

    async def features(self, *_: Any) -> Any:
        await asyncio.sleep(0.001)
        self.now -= 1
        return np.zeros((1, 2), dtype=np.float32)

    async def close(self) -> None:
        pass


async def test_pictures_of_a_batch_are_held_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_finder, "_AT_ONCE", 4)
    finder = PictureFinder(Settings(url_fetch=True), cast(CatalogueReader, None))
    held = Held()
    monkeypatch.setattr(finder, "_fetcher", held)
    monkeypatch.setattr(finder.encoding, "features", held.features)
    state = cast(ServingState, SimpleNamespace(encoder_spec=None))
    image = ImageRef(url="http://pictures.example/1.png")
    found = await asyncio.gather(*(finder.find(state, image, {}) for _ in range(50)))
    await finder.close()
    assert len(found) == 50 and held.most == 4
