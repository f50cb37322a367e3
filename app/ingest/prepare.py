"""One image from its file to what the encoder takes: what the workers of ingestion do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from app.images import Decoded, PictureLimits, decode, thumbnail_of
from app.ingest.blobs import (
    is_whole_original,
    is_whole_thumbnail,
    original_path,
    thumbnail_path,
    write_blob,
)
from app.ingest.items import SourceItem, checked_tags
from app.ingest.keywords import embedded_keywords
from app.picture_file import read_picture
from app.unpacking import UnpackingRoom
from graph_store.arrays import AnyArray
from graph_store.checksums import sha256_of_bytes
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from graph_store.records import ImageRecord, Skip


@dataclass(frozen=True)
class Prepared:
    """An image that is ready to be stored but for its feature. `input` is what goes into the encoder, or the
    feature itself ([dim] float32) where features were brought.
    """

    record: ImageRecord
    input: AnyArray
    dropped: tuple[Skip, ...] = ()


def prepare(
    item: SourceItem,
    mark: str,
    *,
    data_dir: DataDir,
    preprocess: Callable[[Decoded | None], AnyArray],
    keep_originals: bool,
    limits: PictureLimits,
    room: UnpackingRoom,
) -> Prepared | Skip:
    """Read, check and decode the picture of `item`, make its thumbnail, and preprocess it for the encoder.
    All workers share the `room`.

    Where features were brought, `preprocess` returns them, also for an item without a picture (None).
    A picture that cannot be used gives a Skip. Raises Unwritable when the data directory takes no thumbnail.
    """
    record = ImageRecord(
        id=item.id,
        tags=item.tags,
        split=item.split,
        caption=item.caption,
        attributes=item.attributes,
        fingerprint=mark,
    )
    try:
        if item.image is None:
            return Prepared(record, preprocess(None), dropped=item.dropped)
        data = read_picture(item.image, limits.max_bytes)
        decoded = decode(data, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels, room=room)
        model_input = preprocess(decoded)
    except BadInput as error:
        return skip_of(item, error.message)
    dropped = item.dropped
    if item.embedded_keywords:
        keywords, unusable = checked_tags(
            list(embedded_keywords(data)), source=item.source, line=item.line, item=item.id
        )
        record = replace(record, tags=(*record.tags, *keywords))
        dropped = (*dropped, *unusable)
    sha256 = sha256_of_bytes(data)
    small = thumbnail_path(data_dir, sha256)
    if not is_whole_thumbnail(small):
        write_blob(small, thumbnail_of(data, decoded))
    if keep_originals and not is_whole_original(original_path(data_dir, sha256), len(data)):
        write_blob(original_path(data_dir, sha256), data)
    record = replace(record, path=str(item.image), sha256=sha256, width=decoded.width, height=decoded.height)
    return Prepared(record, model_input, dropped=dropped)


def skip_of(item: SourceItem, reason: str) -> Skip:
    """A Skip for an item that was understood but cannot be stored."""
    return Skip(item.source, item.line, reason, item.id)
