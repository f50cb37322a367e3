"""What ingestion remembers of the source of a picture, to know later what has changed since."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any

import orjson

from app.ingest.items import SourceItem
from graph_store.arrays import AnyArray
from graph_store.errors import BadInput

_WITH_KEYWORDS, _WITHOUT_KEYWORDS = "+", "-"
_EDITED = "!"
_DIGITS = 32


def fingerprint(item: SourceItem, feature: AnyArray | None, *, keep_original: bool = False) -> str:
    """`size:mtime_ns:hash`, a mark for keywords that become tags, and `:hash` of what the source says of the
    picture: equal as long as neither the file nor that has changed; see `is_unchanged`.

    Raises BadInput when the file is missing or is no file, or when the attributes cannot be stored.
    """
    size, modified = (0, 0) if item.image is None else _status(item.image)
    told = [[[tag.name, tag.weight] for tag in item.tags], item.split, item.caption, item.attributes]
    digest = hashlib.sha256(_as_json([str(item.image), *told, keep_original]))
    if feature is not None:
        digest.update(feature.tobytes())
    row = hashlib.sha256(_as_json([*told, item.embedded_keywords]))
    keywords = _WITH_KEYWORDS if item.embedded_keywords else _WITHOUT_KEYWORDS
    return f"{size}:{modified}:{digest.hexdigest()[:_DIGITS]}{keywords}:{row.hexdigest()[:_DIGITS]}"


def is_unchanged(before: str | None, now: str) -> bool:
    """Whether the fingerprint of a stored image is that of now. Older ones lack the last hash, or even the
    mark for keywords, and are taken as they are: to make sure would be to encode whole catalogues anew.
    """
    if before is None:
        return False
    older = now.rpartition(":")[0]
    return before.removesuffix(_EDITED) in (now, older, older.rstrip(_WITH_KEYWORDS + _WITHOUT_KEYWORDS))


def same_file(one: str | None, other: str) -> bool:
    """Whether two fingerprints are of a file of the same size and time."""
    return one is not None and one.split(":")[:2] == other.split(":")[:2]


def says_the_same(before: str | None, now: str) -> bool:
    """Whether the source says of the picture what it said before, wherever its file is and however old."""
    if before is None:
        return False
    parts = before.removesuffix(_EDITED).split(":")
    return is_unchanged(before, now) or (len(parts) == 4 and parts[3] == now.rpartition(":")[2])


def file_size(mark: str | None) -> int:
    """The size in bytes that the file had when it got this fingerprint; 0 where there is none."""
    size = (mark or "").partition(":")[0]
    return int(size) if size.isdecimal() else 0


def edited(mark: str | None) -> str | None:
    """The fingerprint of a picture whose tags or attributes are not those of its source any more."""
    return mark if mark is None or was_edited(mark) else mark + _EDITED


def was_edited(mark: str | None) -> bool:
    """Whether a fingerprint came out of `edited`."""
    return mark is not None and mark.endswith(_EDITED)


def _as_json(told: list[Any]) -> bytes:
    try:
        return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise BadInput(f"the attributes cannot be stored: {error}") from error


def _status(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds. Raises BadInput when it is not a file."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise BadInput(f"the file {path} cannot be read: {_why(error)}") from error
    # A pipe or a device would be read for ever.
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{path} is not a file")
    return status.st_size, status.st_mtime_ns


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
