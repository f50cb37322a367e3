"""Images by id, as the catalogue and the blobs hold them: also those held out of the index."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

import numpy as np

from app.ingest.blobs import original_path, thumbnail_path
from app.ingest.store import ENCODER_KEY
from gnn.encoders.base import EncoderSpec, check_same_encoder
from graph_store.arrays import Float32Array
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.errors import ImsageError, NotFound
from graph_store.features import FeatureFile
from graph_store.healing import refuse_damaged
from graph_store.records import ImageRecord

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


_OTHER = "application/octet-stream"
"""Of originals that were taken in, such as JPEG 2000 and PPM, but that a browser is not to show."""

_KEPT_DIGESTS = 1024


@dataclass(frozen=True)
class PictureFile:
    """A file of a picture that may be sent: `etag` changes when its bytes do."""

    path: Path
    media_type: str
    etag: str
    stat: os.stat_result


def media_type_of(head: bytes) -> str | None:
    """The media type of a picture by its first 16 bytes; None for what a browser had better not show."""
    for signature, media_type in _SIGNATURES:
        if head.startswith(signature):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "image/avif"
    return None


def _digest_of(path: Path, *facts: int) -> str:
    """The SHA-256 of a file; `facts` about it change when it does, so that the answer may be kept."""
    del facts
    return sha256_of_file(path)


class CatalogueReader:
    """Reads one catalogue. Opened at first use, since a server may start before there is one. Any thread may
    call.
    """

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir
        self._opened: Catalog | None = None
        self._opening = threading.Lock()
        self._digest_of = lru_cache(_KEPT_DIGESTS)(_digest_of)

    def close(self) -> None:
        """Close the catalogue's connections."""
        if self._opened is not None:
            self._opened.close()

    @property
    def catalog(self) -> Catalog:
        """The catalogue. Raises NothingToServe, CorruptFile."""
        with self._opening:
            if self._opened is None:
                self._opened = Catalog.open(self._data_dir.catalog_path)
            return self._opened

    def record(self, image_id: str) -> ImageRecord:
        """Raises NotFound."""
        return self.catalog.get(image_id)

    def credits(self) -> str | None:
        """Who is to be named for the pictures, where the catalogue says so."""
        try:
            words = self.catalog.meta("credits")
        except ImsageError:
            # A snapshot is served also where its catalogue is missing or damaged.
            return None
        return words if isinstance(words, str) else None

    def stored_features(self, image_id: str, spec: EncoderSpec) -> Float32Array:
        """[1, dim] float32, unit norm: what ingestion stored. Raises NotFound, and EncoderMismatch when the
        catalogue was emptied and another encoder has filled it.
        """
        record = self.record(image_id)
        # Asked after the record, whose row means nothing in the file of another encoder.
        recorded = EncoderSpec.from_dict(self.catalog.meta(ENCODER_KEY))
        check_same_encoder(spec, recorded)
        # The same encoder under another name has another file.
        stored = FeatureFile.open(self._data_dir.features_dir, recorded.slug, recorded.dim)
        damaged = stored.damaged([record.row])
        refuse_damaged(stored, [image_id] if damaged else [])
        features = np.array(stored.view()[record.row : record.row + 1], dtype=np.float32)
        if len(features) == 0:
            raise NotFound(f"There are no features of image {image_id!r}", hint="Ingest it again.")
        return features

    def thumbnail(self, image_id: str) -> PictureFile:
        """Raises NotFound when the image or its thumbnail is missing (only features were brought along)."""
        digest = self.record(image_id).sha256
        if digest is not None:
            path = thumbnail_path(self._data_dir, digest)
            if path.is_file():
                return PictureFile(path, "image/webp", f'"t-{digest}"', path.stat())
        raise NotFound(f"There is no thumbnail of image {image_id!r}")

    def original(self, image_id: str) -> PictureFile:
        """The kept original, or else the file that was ingested while it has the same bytes: the path in a
        catalogue that came from elsewhere may be that of any file here. Raises NotFound when neither is there
        any more.
        """
        record = self.record(image_id)
        for path in self._places(record):
            try:
                stat = path.stat()
                if record.sha256 is None or not S_ISREG(stat.st_mode):  # a device has no end
                    continue
                with path.open("rb") as file:
                    media_type = media_type_of(file.read(16)) or _OTHER
                sound = self._digest(path, stat) == record.sha256
            except OSError:
                continue
            if sound:
                return PictureFile(path, media_type, f'"f-{record.sha256}"', stat)
        raise NotFound(
            f"The original of image {image_id!r} is not there any more",
            hint="Its thumbnail is; ingest with --keep-originals to keep originals.",
        )

    def _digest(self, path: Path, stat: os.stat_result) -> str:
        """The file's SHA-256. It is read for it once, since a picture may be asked for piece by piece."""
        return self._digest_of(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)

    def _places(self, record: ImageRecord) -> list[Path]:
        places: list[Path] = []
        if record.sha256 is not None:
            places.append(original_path(self._data_dir, record.sha256))
        if record.path is not None:
            places.append(Path(record.path))
        return places
