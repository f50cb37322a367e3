"""Files of the data directory that are named after the SHA-256 of the original bytes."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from graph_store.data_dir import DataDir
from graph_store.durable import refusing_unwritable
from graph_store.errors import CorruptFile


def thumbnail_path(data_dir: DataDir, sha256: str) -> Path:
    """Where the thumbnail of an image lies, if it has been made. Raises CorruptFile."""
    return _folder(data_dir, "thumbnails", sha256) / f"{sha256}.webp"


def original_path(data_dir: DataDir, sha256: str) -> Path:
    """Where the original bytes lie, if they were kept. Raises CorruptFile."""
    return _folder(data_dir, "originals", sha256) / sha256


def _folder(data_dir: DataDir, kind: str, sha256: str) -> Path:
    """What a catalogue calls a digest becomes a name of a file that may be sent or removed, so it is looked
    at: another text could lead out of the data directory.
    """
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise CorruptFile(
            f"The catalogue has {sha256[:80]!r} in place of the SHA-256 of a picture",
            path=data_dir.catalog_path,
        )
    return data_dir.blobs_dir / kind / sha256[:2]


def is_whole_thumbnail(path: Path) -> bool:
    """Whether a thumbnail is there and has the length that its own header says."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
        size = path.stat().st_size
    except OSError:
        return False
    # https://developers.google.com/speed/webp/docs/riff_container: the length counts from its ninth byte.
    return head[:4] == b"RIFF" and head[8:] == b"WEBP" and int.from_bytes(head[4:8], "little") + 8 == size


def is_whole_original(path: Path, size: int) -> bool:
    """Whether the original bytes, `size` of them, are there. One that a power cut emptied or cut is not."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def write_blob(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step, so that a blob that is there is whole. Raises Unwritable.

    It is not fsynced: that would cost more than the encoding. A blob lost in a power cut is found missing and
    made anew.
    """
    # Two workers, maybe of two machines, may write the same blob when two images have the same bytes.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with refusing_unwritable(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
