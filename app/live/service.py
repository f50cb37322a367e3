"""Upserts, deletes and edits: stored durably, then searchable, then answered. It knows nothing of HTTP."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.api.write_schemas import DescribeRequest, NewImage
from app.live.merge_patch import merged
from app.live.new_pictures import NewPictures
from app.live.writer import CatalogueWriter, Stored
from app.search_service import SearchService
from app.settings import Settings
from graph_store.errors import ImsageError
from graph_store.records import ImageRecord, Tag


@dataclass(frozen=True)
class Upserted:
    """What became of each image of an upsert, in order: how it was stored, or why not."""

    outcomes: tuple[Stored | ImsageError, ...]
    version: str
    seconds: dict[str, float]


class LiveCatalogue:
    """Changes the catalogue that a service serves. When a method returns, its change is on the disk and the
    service's searches know it.
    """

    def __init__(self, settings: Settings, service: SearchService) -> None:
        self._service = service
        self._pictures = NewPictures(settings, service.pictures, service.observe)
        self._writer = CatalogueWriter(settings.data_dir, service.catalogue)

    async def upsert(self, images: Sequence[NewImage]) -> Upserted:
        """Store images; one that cannot be used does not hold up the others.

        Raises NothingToServe, EncoderMismatch, DataDirBusy and Unwritable; then none was stored.
        """
        began = time.perf_counter()
        service = self._service
        spec = service.states.current.encoder_spec
        # Before the work of reading and encoding.
        await service.run(lambda: self._writer.check_encoder(spec))
        read = await self._pictures.read(images, spec)
        were_read = time.perf_counter()
        usable = [picture for picture in read if not isinstance(picture, ImsageError)]
        stored = await service.write(lambda: self._writer.store(usable, spec))
        were_stored = time.perf_counter()
        await service.announce()
        ended = time.perf_counter()
        return Upserted(
            tuple(
                picture if isinstance(picture, ImsageError) else stored[picture.record.id] for picture in read
            ),
            service.states.current.version,
            {
                "read": were_read - began,
                "store": were_stored - were_read,
                "attach": ended - were_stored,
                "total": ended - began,
            },
        )

    async def delete(self, ids: Sequence[str]) -> frozenset[str]:
        """Remove images; returns those that were there. Raises DataDirBusy, Unwritable."""
        deleted = await self._service.write(lambda: self._writer.delete(ids))
        await self._service.announce()
        return deleted

    async def describe(self, image_id: str, request: DescribeRequest) -> ImageRecord:
        """Change tags and attributes of an image. Raises NotFound, BadInput, DataDirBusy, Unwritable."""
        tags = None if request.tags is None else tuple(Tag(tag.name, tag.weight) for tag in request.tags)

        def attributes(before: dict[str, Any]) -> dict[str, Any]:
            return before if request.attributes is None else merged(before, request.attributes)

        record = await self._service.write(lambda: self._writer.describe(image_id, tags, attributes))
        await self._service.announce()
        return record
