"""Stores images that are ready: features first, then the catalogue, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.images import PictureLimits, decode, thumbnail_of
from app.ingest.blobs import (
    is_whole_original,
    is_whole_thumbnail,
    original_path,
    thumbnail_path,
    write_blob,
)
from app.ingest.engines.engine import Featured
from app.ingest.fingerprint import edited, file_size, is_unchanged, says_the_same, was_edited
from app.ingest.report import Replaced
from app.picture_file import read_picture
from gnn.encoders.base import EncoderSpec, check_same_encoder
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_bytes
from graph_store.data_dir import DataDir
from graph_store.durable import refusing_unwritable
from graph_store.errors import BadInput
from graph_store.features import FeatureFile
from graph_store.progress import Advance
from graph_store.records import ImageRecord, Place, Skip

ENCODER_KEY = "image_encoder"

_REMOVED_AT_ONCE = 256
"""A server that wants to write waits so long and no longer."""

_EDITED_NAMED = 3


class ImageStore:
    """The catalogue and the feature file of one encoder. Each `add` is durable when it returns.

    A kill in between leaves features that no image refers to; the next run writes over them. What it counts,
    `replaced`, `edited` and `returned`, is described with :class:`app.ingest.report.IngestReport`.
    """

    def __init__(
        self,
        data_dir: DataDir,
        catalog: Catalog,
        features: FeatureFile,
        run: str,
        keep_originals: bool,
        limits: PictureLimits,
    ) -> None:
        self._data_dir = data_dir
        self._catalog = catalog
        self._features = features
        self._run = run
        self._keep_originals = keep_originals
        self._limits = limits
        self._gone: set[str] = set()
        self.replaced = 0
        self.first_replaced: Replaced | None = None
        self.edited = 0
        self.first_edited: tuple[str, ...] = ()
        self.returned = 0
        self.first_returned: str | None = None

    @classmethod
    def open(
        cls,
        data_dir: DataDir,
        catalog: Catalog,
        spec: EncoderSpec,
        run: str,
        *,
        keep_originals: bool = False,
        limits: PictureLimits | None = None,
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
        return cls(data_dir, catalog, features, run, keep_originals, limits or PictureLimits())

    def checker(self) -> Callable[[Place, str | None], bool]:
        """A function that says whether nothing was lost of an image, stored with that fingerprint, since: its
        features are as they were written, its thumbnail is there, and so is its original where they are kept.
        """
        row_is_sound = self._features.checker()

        def is_sound(place: Place, mark: str | None) -> bool:
            if not row_is_sound(place.row):
                return False
            if place.sha256 is None:
                return True
            small, original = (of(self._data_dir, place.sha256) for of in (thumbnail_path, original_path))
            kept = not self._keep_originals or is_whole_original(original, file_size(mark))
            return kept and is_whole_thumbnail(small)

        return is_sound

    def add(self, images: Sequence[Featured], skips: Sequence[Skip]) -> None:
        """Store images and skips. Images without a feature keep their rows.

        Edits over HTTP of a picture whose bytes are as they were, and of which the source says what it said,
        stay: it was only lost in part, moved or copied.
        """
        vectors = [image.feature for image in images if image.feature is not None]
        known: dict[str, ImageRecord] = {}
        returned: frozenset[str] = frozenset()
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
                records = [_with_edits(known.get(record.id), record) for record in records]
                now = {record.id: record.sha256 for record in records}
                self._gone.update(
                    before.sha256
                    for before in known.values()
                    if before.sha256 is not None and before.sha256 != now[before.id]
                )
                for record in records:
                    self._make_lost_blobs_again(record)
                returned = self._catalog.upsert(records)
        for record in records:
            before = known.get(record.id)
            if before is not None:
                self._note_replaced(before, record)
                self._note_edited(before, record)
            elif record.id in returned:
                self.returned += 1
                self.first_returned = self.first_returned or record.id
        if skips:
            self._catalog.add_skips(self._run, skips)

    def remove(self, gone: Mapping[str, str], advance: Advance) -> None:
        """Remove images, path by id. One that has got another picture meanwhile stays."""
        ids = list(gone)
        for start in range(0, len(ids), _REMOVED_AT_ONCE):
            with self._data_dir.writing("ingest"):
                found = self._catalog.find(ids[start : start + _REMOVED_AT_ONCE]).values()
                still = [record for record in found if record.path == gone[record.id]]
                self._catalog.delete(record.id for record in still)
            self._gone.update(record.sha256 for record in still if record.sha256 is not None)
            advance(min(_REMOVED_AT_ONCE, len(ids) - start))

    def _make_lost_blobs_again(self, record: ImageRecord) -> None:
        """A server that deletes a picture removes its files, also those that one of the same bytes waits with
        here. To be called where no server writes: from then on the catalogue keeps them.
        """
        if record.sha256 is None or record.path is None:
            return
        small, original = (of(self._data_dir, record.sha256) for of in (thumbnail_path, original_path))
        whole = is_whole_original(original, file_size(record.fingerprint))
        lost = not is_whole_thumbnail(small), self._keep_originals and not whole
        if not any(lost):
            return
        try:
            data = read_picture(Path(record.path), self._limits.max_bytes)
            if sha256_of_bytes(data) != record.sha256:
                return  # it was altered meanwhile: the next ingestion sees that, and makes all of it anew
            decoded = decode(data, max_bytes=len(data), max_pixels=self._limits.max_pixels)
        except BadInput:
            return  # it is gone meanwhile
        for is_lost, path, content in zip(
            lost, (small, original), (thumbnail_of(data, decoded), data), strict=True
        ):
            if is_lost:
                write_blob(path, content)

    def _note_replaced(self, before: ImageRecord, now: ImageRecord) -> None:
        uploaded = before.fingerprint is None
        other_bytes = before.sha256 is not None and before.sha256 != now.sha256
        if uploaded or (other_bytes and _are_two_files(before.path, now.path)):
            self.replaced += 1
            self.first_replaced = self.first_replaced or Replaced(now.id, None if uploaded else before.path)

    def _note_edited(self, before: ImageRecord, now: ImageRecord) -> None:
        told = (before.tags, before.caption, before.attributes)
        if was_edited(before.fingerprint) and told != (now.tags, now.caption, now.attributes):
            self.edited += 1
            self.first_edited = (*self.first_edited, now.id)[:_EDITED_NAMED]

    def drop_replaced(self) -> None:
        """Remove the files of pictures that no image has any more. At the end of a run: until then a picture
        that is prepared may be one of them.
        """
        gone = list(self._gone)
        for start in range(0, len(gone), _REMOVED_AT_ONCE):
            with self._data_dir.writing("ingest"), refusing_unwritable(self._data_dir.blobs_dir):
                for sha256 in gone[start : start + _REMOVED_AT_ONCE]:
                    if not self._catalog.keeps_blob(sha256):
                        thumbnail_path(self._data_dir, sha256).unlink(missing_ok=True)
                        original_path(self._data_dir, sha256).unlink(missing_ok=True)
        self._gone.clear()


def _with_edits(before: ImageRecord | None, now: ImageRecord) -> ImageRecord:
    """What is to be stored: described as before, where neither the bytes nor what the source says of them
    have changed.
    """
    mark = now.fingerprint
    if before is None or mark is None or before.sha256 != now.sha256:
        return now
    if not says_the_same(before.fingerprint, mark):
        return now
    if is_unchanged(before.fingerprint, mark):
        mark = before.fingerprint
    elif was_edited(before.fingerprint):
        mark = edited(mark)
    return replace(
        now,
        tags=before.tags,
        split=before.split,
        caption=before.caption,
        attributes=before.attributes,
        fingerprint=mark,
    )


def _are_two_files(before: str | None, now: str | None) -> bool:
    """Whether both are there, and are not one file under two names. A picture that was moved is one file."""
    if before is None or now is None:
        return False
    try:
        return before != now and not Path(before).samefile(now)
    except (OSError, ValueError):
        return False
