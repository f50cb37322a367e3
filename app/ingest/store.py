"""Stores images that are ready: features first, then the catalogue, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.images import MAX_BYTES, decode, thumbnail_of
from app.ingest.blobs import is_whole_thumbnail, original_path, thumbnail_path, write_blob
from app.ingest.engines.engine import Featured
from app.ingest.report import Replaced
from app.picture_file import read_picture
from gnn.encoders.base import EncoderSpec, check_same_encoder
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_bytes
from graph_store.data_dir import DataDir
from graph_store.durable import refusing_unwritable
from graph_store.errors import BadInput
from graph_store.features import FeatureFile
from graph_store.records import ImageRecord, Place, Skip

ENCODER_KEY = "image_encoder"


class ImageStore:
    """The catalogue and the feature file of one encoder. Each `add` is durable when it returns.

    A kill in between leaves features that no image refers to; the next run writes over them. `replaced`
    pictures took the place of another file's; `first_replaced` is the first of them.
    """

    def __init__(
        self, data_dir: DataDir, catalog: Catalog, features: FeatureFile, run: str, keep_originals: bool
    ) -> None:
        self._data_dir = data_dir
        self._catalog = catalog
        self._features = features
        self._run = run
        self._keep_originals = keep_originals
        self._gone: set[str] = set()
        self.replaced = 0
        self.first_replaced: Replaced | None = None

    @classmethod
    def open(
        cls, data_dir: DataDir, catalog: Catalog, spec: EncoderSpec, run: str, *, keep_originals: bool = False
    ) -> ImageStore:
        """Raises EncoderMismatch when the catalogue's images were encoded by another encoder."""
        known = catalog.meta(ENCODER_KEY)
        if known is not None and catalog.count() > 0:
            recorded = EncoderSpec.from_dict(known)
            check_same_encoder(recorded, spec)
            # The same weights under another name belong into the same file; a moved checkpoint is noted.
            spec = spec if spec.slug == recorded.slug else recorded
        catalog.begin_anew()
        catalog.drop_skips(run)
        features = FeatureFile.open(data_dir.features_dir, spec.slug, spec.dim, create=True)
        features.extend(catalog.next_row())
        if known != spec.to_dict():
            catalog.set_meta(ENCODER_KEY, spec.to_dict())
        return cls(data_dir, catalog, features, run, keep_originals)

    def checker(self) -> Callable[[Place], bool]:
        """A function that says whether nothing was lost of an image since it was stored: its features are as
        they were written, and its thumbnail is there.
        """
        row_is_sound = self._features.checker()

        def is_sound(place: Place) -> bool:
            pictured = place.sha256 is not None
            return row_is_sound(place.row) and (
                not pictured or is_whole_thumbnail(thumbnail_path(self._data_dir, str(place.sha256)))
            )

        return is_sound

    def add(self, images: Sequence[Featured], skips: Sequence[Skip]) -> None:
        """Store images and skips. Images without a feature keep their rows."""
        vectors = [image.feature for image in images if image.feature is not None]
        known: dict[str, ImageRecord] = {}
        # A server may store pictures while a long ingestion runs; they take turns by the batch.
        with self._data_dir.writing("ingest"):
            first = self._catalog.next_row()
            if vectors:
                self._features.write(first, np.stack(vectors))
            rows = iter(range(first, first + len(vectors)))
            records: list[ImageRecord] = [
                replace(image.record, row=next(rows)) if image.feature is not None else image.record
                for image in images
            ]
            if records:
                known = self._catalog.find(record.id for record in records)
                self._gone.update(before.sha256 for before in known.values() if before.sha256 is not None)
                for record in records:
                    self._make_lost_blobs_again(record)
                self._catalog.upsert(records)
        for record in records:
            self._note_replaced(known.get(record.id), record)
        if skips:
            self._catalog.add_skips(self._run, skips)

    def _make_lost_blobs_again(self, record: ImageRecord) -> None:
        """A server that deletes a picture removes its files, also those that one of the same bytes waits with
        here. To be called where no server writes: from then on the catalogue keeps them.
        """
        if record.sha256 is None or record.path is None:
            return
        small, original = (of(self._data_dir, record.sha256) for of in (thumbnail_path, original_path))
        lost = not is_whole_thumbnail(small), self._keep_originals and not original.exists()
        if not any(lost):
            return
        try:
            data = read_picture(Path(record.path), MAX_BYTES)
            if sha256_of_bytes(data) != record.sha256:
                return  # it was altered meanwhile: the next ingestion sees that, and makes all of it anew
            thumbnail = thumbnail_of(data, decode(data))
        except BadInput:
            return  # it is gone meanwhile
        for is_lost, path, content in zip(lost, (small, original), (thumbnail, data), strict=True):
            if is_lost:
                write_blob(path, content)

    def _note_replaced(self, before: ImageRecord | None, now: ImageRecord) -> None:
        if before is None or before.path is None or now.path is None or before.sha256 == now.sha256:
            return
        if _are_two_files(before.path, now.path):
            self.replaced += 1
            self.first_replaced = self.first_replaced or Replaced(now.id, before.path)

    def drop_replaced(self) -> None:
        """Remove the files of pictures that no image has any more. At the end of a run: until then a picture
        that is prepared may be one of them.
        """
        with self._data_dir.writing("ingest"), refusing_unwritable(self._data_dir.blobs_dir):
            for sha256 in self._gone:
                if not self._catalog.keeps_blob(sha256):
                    thumbnail_path(self._data_dir, sha256).unlink(missing_ok=True)
                    original_path(self._data_dir, sha256).unlink(missing_ok=True)
        self._gone.clear()


def _are_two_files(before: str, now: str) -> bool:
    """Whether both are there, and are not one file under two names. A picture that was moved is one file."""
    try:
        return before != now and not Path(before).samefile(now)
    except (OSError, ValueError):
        return False
