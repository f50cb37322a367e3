"""The picture of a query, however it is named: by id, in the body, by address, or uploaded."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.api.schemas import ImageRef, WeightedImageRef
from app.catalogue_reader import CatalogueReader
from app.fetch import PictureFetcher
from app.query_pictures import QueryPictures
from app.request_errors import InvalidRequest, SettingOff, UnknownImage, UnusablePicture
from app.serving_state import ServingState
from app.settings import Settings
from graph_store.arrays import Float32Array
from graph_store.errors import BadInput, NotFound

LONG_TEXT = 2**20
"""Base64 of this length keeps the event loop for longer than a hop to a thread would."""

_AT_ONCE = 32
"""Pictures of all questions together that are fetched, held and decoded at the same time: a batch may name a
thousand, and each may be as large as max_image_bytes.
"""


@dataclass(frozen=True)
class Picture:
    """A picture that was found: its features [1, dim], or its row when the snapshot indexes it; of several
    pictures each has features.
    """

    features: Float32Array | None
    row: int | None = None
    weight: float = 1.0


class PictureFinder:
    """Finds and encodes the pictures of queries."""

    def __init__(self, settings: Settings, catalogue: CatalogueReader) -> None:
        self.encoding = QueryPictures(settings)
        self._catalogue = catalogue
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._fetcher = (
            PictureFetcher(settings.max_image_bytes, settings.url_fetch_timeout, settings.url_fetch_ports)
            if settings.url_fetch
            else None
        )

    async def close(self) -> None:
        """Close connections and stop threads."""
        if self._fetcher is not None:
            await self._fetcher.close()
        self.encoding.close()

    async def find_all(
        self,
        state: ServingState,
        image: ImageRef | Sequence[WeightedImageRef] | None,
        upload: bytes | None,
        stages: dict[str, float],
    ) -> tuple[Picture, ...]:
        """The pictures of a query that have a weight. Raises RequestError, which points at the fault."""
        if upload is not None:
            return (await self._encoded(state, upload, "#form/image", stages),)
        if image is None:
            return ()
        if isinstance(image, ImageRef):
            return (await self.find(state, image, stages),)
        asked = [(number, each) for number, each in enumerate(image) if each.weight]
        if len(asked) == 1 and asked[0][1].weight > 0:
            return (await self.find(state, asked[0][1], stages, f"/image/{asked[0][0]}"),)
        # They are worked on at the same time, so a stage takes as long as it takes for the slowest.
        times: list[dict[str, float]] = [{} for _ in asked]
        found = await asyncio.gather(
            *(
                self.find(state, each, taken, f"/image/{number}")
                for (number, each), taken in zip(asked, times, strict=True)
            )
        )
        for stage in {stage for taken in times for stage in taken}:
            stages[stage] = max(taken.get(stage, 0.0) for taken in times)
        return tuple(
            replace(picture, weight=each.weight, features=_features(state, picture))
            for picture, (_, each) in zip(found, asked, strict=True)
        )

    async def find(
        self, state: ServingState, image: ImageRef, stages: dict[str, float], where: str = "/image"
    ) -> Picture:
        """One picture. Raises RequestError; `where` points at it."""
        if image.id is not None:
            return await self._by_id(state, image.id, where)
        if image.data is not None:
            data = await self.from_base64(image.data, where)
            return await self._encoded(state, data, f"{where}/data", stages)
        async with self._turns:
            fetched = await self.fetch(image.url or "", where)
            return await self._encoded(state, fetched, f"{where}/url", stages)

    async def from_base64(self, text: str, where: str) -> bytes:
        """The bytes in a text. Raises InvalidRequest, which points below `where`."""
        try:
            if len(text) < LONG_TEXT:
                return base64.b64decode(text, validate=True)
            return await asyncio.to_thread(lambda: base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest.at(f"{where}/data", f"this is not base64: {error}") from error

    async def _by_id(self, state: ServingState, image_id: str, where: str) -> Picture:
        row = state.engine.row_of(image_id)
        if row is not None:
            return Picture(None, row)
        try:
            features = await asyncio.to_thread(
                lambda: self._catalogue.stored_features(image_id, state.encoder_spec)
            )
        except NotFound as error:
            raise UnknownImage(
                error.message, hint=error.hint, errors=[(f"{where}/id", error.message)]
            ) from error
        return Picture(features)

    async def _encoded(
        self, state: ServingState, data: bytes, where: str, stages: dict[str, float]
    ) -> Picture:
        try:
            return Picture(await self.encoding.features(data, state.encoder_spec, stages))
        except BadInput as error:
            raise UnusablePicture(error.message, hint=error.hint, errors=[(where, error.message)]) from error

    async def fetch(self, url: str, where: str) -> bytes:
        """The bytes at an address. Raises SettingOff, UnusablePicture, which point below `where`."""
        if self._fetcher is None:
            raise SettingOff(
                "This server does not fetch pictures by address",
                hint="The setting url_fetch (IMSAGE_URL_FETCH=true) turns it on.",
                errors=[(f"{where}/url", "fetching is off")],
            )
        try:
            return await self._fetcher.fetch(url)
        except BadInput as error:
            raise UnusablePicture(
                error.message, hint=error.hint, errors=[(f"{where}/url", error.message)]
            ) from error


def _features(state: ServingState, picture: Picture) -> Float32Array | None:
    """[1, dim]: the features of a picture, also where its row would do if it were alone."""
    if picture.row is None:
        return picture.features
    return state.engine.image_features(picture.row)[np.newaxis]
