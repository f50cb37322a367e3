"""Writes to the catalogue while it is served. What is returned is on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import structlog

from app.catalogue_reader import CatalogueReader
from app.ingest.blobs import is_whole_original, is_whole_thumbnail, original_path, thumbnail_path
from app.ingest.fingerprint import edited
from app.ingest.store import ENCODER_KEY
from app.live.new_pictures import NewPicture, check_record
from gnn.encoders.base import EncoderSpec, check_same_encoder
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.durable import refusing_unwritable, write_bytes
from graph_store.features import FeatureFile
from graph_store.records import ImageRecord, Tag

Stored = Literal["created", "replaced"]

_PURPOSE = "serve"

WAIT_SECONDS = 10.0
"""How long a write waits for another before it is refused."""


class CatalogueWriter:
    """Short writes, each under the data directory's write lock and each one transaction.

    Features and blobs are on the disk before the transaction that refers to them, so a kill at any point
    leaves the old picture whole or the new one. Methods raise DataDirBusy, Unwritable, NothingToServe and
    CorruptFile, and then nothing has changed.
    """

    def __init__(self, data_dir: DataDir, catalogue: CatalogueReader) -> None:
        self._data_dir = data_dir
        self._catalogue = catalogue

    def check_encoder(self, spec: EncoderSpec) -> None:
        """Raises EncoderMismatch when the catalogue's features are of another encoder."""
        self._feature_encoder(self._catalogue.catalog, spec)

    def store(self, pictures: Sequence[NewPicture], spec: EncoderSpec) -> dict[str, Stored]:
        """Store pictures of different ids, whatever was there under them before. spec: their encoder."""
        if not pictures:
            return {}
        catalog = self._catalogue.catalog
        with self._data_dir.writing(_PURPOSE, WAIT_SECONDS):
            recorded = self._feature_encoder(catalog, spec)
            before = catalog.find(picture.record.id for picture in pictures)
            first = catalog.next_row()
            features = FeatureFile.open(self._data_dir.features_dir, recorded.slug, recorded.dim)
            features.view(first)  # raises CorruptFile when some of those before are missing
            for picture in pictures:
                self._write_blobs(picture)
            features.write(first, np.concatenate([picture.features for picture in pictures]))
            catalog.upsert(
                [replace(picture.record, row=first + place) for place, picture in enumerate(pictures)]
            )
            self._drop_blobs(catalog, before.values())
        return {
            picture.record.id: "replaced" if picture.record.id in before else "created"
            for picture in pictures
        }

    def delete(self, ids: Sequence[str]) -> frozenset[str]:
        """Remove images; returns those of the ids that were there. An ingestion that stores one of them again
        says so.
        """
        catalog = self._catalogue.catalog
        with self._data_dir.writing(_PURPOSE, WAIT_SECONDS):
            before = catalog.find(ids)
            if before:
                catalog.delete(before, remember=True)
                self._drop_blobs(catalog, before.values())
        return frozenset(before)

    def describe(
        self,
        image_id: str,
        tags: tuple[Tag, ...] | None,
        attributes: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> ImageRecord:
        """Give an image other tags (None: those it has) and attributes; its picture stays, and so does what
        ingestion remembers of its source: until what the source says or the picture in it changes, a repeated
        ingestion leaves this alone, and then it says that an edit was lost.

        Raises NotFound, BadInput.
        """
        catalog = self._catalogue.catalog
        with self._data_dir.writing(_PURPOSE, WAIT_SECONDS):
            record = catalog.get(image_id)
            changed = replace(
                record,
                tags=record.tags if tags is None else tags,
                attributes=attributes(record.attributes),
                fingerprint=edited(record.fingerprint),
            )
            check_record(changed)
            catalog.upsert([changed])
            return catalog.get(image_id)

    @staticmethod
    def _feature_encoder(catalog: Catalog, spec: EncoderSpec) -> EncoderSpec:
        recorded = EncoderSpec.from_dict(catalog.meta(ENCODER_KEY))
        check_same_encoder(recorded, spec)
        return recorded

    def _write_blobs(self, picture: NewPicture) -> None:
        sha256 = picture.record.sha256
        assert sha256 is not None  # it came as bytes
        small, original = self._blobs(sha256)
        if not is_whole_thumbnail(small):
            _write(small, picture.thumbnail)
        data = None if picture.original is None else picture.original()
        if data is not None and not is_whole_original(original, len(data)):
            _write(original, data)

    def _drop_blobs(self, catalog: Catalog, before: Iterable[ImageRecord]) -> None:
        """Remove the files of pictures that no image has any more. An ingestion that is about to store the
        same picture under another id makes them again: see :meth:`app.ingest.store.ImageStore.add`.

        What is stored is stored by now, so a file that cannot be removed stays, and tidying up removes it.
        """
        for sha256 in {record.sha256 for record in before if record.sha256 is not None}:
            if not catalog.keeps_blob(sha256):
                for path in self._blobs(sha256):
                    try:
                        path.unlink(missing_ok=True)
                    except OSError as error:
                        structlog.get_logger().warning("file_not_removed", path=str(path), reason=str(error))

    def _blobs(self, sha256: str) -> list[Path]:
        return [thumbnail_path(self._data_dir, sha256), original_path(self._data_dir, sha256)]


def _write(path: Path, data: bytes) -> None:
    with refusing_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)
