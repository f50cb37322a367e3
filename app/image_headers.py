"""What the headers of some formats hide from the usual check of width and height."""

from __future__ import annotations

import struct

from graph_store.errors import BadInput

MOST_PIECES = 100_000
"""Strips or tiles of a TIFF. Each is an object of Python's before the first is read: four million of them,
which 32 MB hold, took 35 seconds and 1.4 GB."""

_PNG = b"\x89PNG\r\n\x1a\n"
_ICON = b"\x00\x00\x01\x00"
_CORE_HEADER_BYTES = 12
_TIFF_PIECES = (273, 324)
"""The tags StripOffsets and TileOffsets."""


def check_hidden_sizes(data: bytes, max_pixels: int) -> None:
    """Raises BadInput for an icon that holds more than `max_pixels`, whatever its directory says, and for a
    TIFF in too many pieces. A damaged header is left for the decoder to refuse.
    """
    try:
        if data.startswith(_ICON):
            _check_icon(data, max_pixels)
        elif data[:2] in (b"II", b"MM"):
            _check_tiff(data)
    except struct.error:
        pass


def _check_icon(data: bytes, max_pixels: int) -> None:
    """An icon is a list of small pictures, each a PNG or a bitmap with a size of its own."""
    (count,) = struct.unpack_from("<H", data, 4)
    for number in range(count):
        (start,) = struct.unpack_from("<I", data, 6 + 16 * number + 12)
        width, height = _size_at(data, start)
        if width * height > max_pixels:
            raise BadInput(f"the icon holds {width} x {height} pixels; at most {max_pixels:,} are allowed")


def _size_at(data: bytes, start: int) -> tuple[int, int]:
    if data[start : start + 8] == _PNG:
        width, height = struct.unpack_from(">II", data, start + 16)
    elif struct.unpack_from("<I", data, start)[0] == _CORE_HEADER_BYTES:
        width, height = struct.unpack_from("<HH", data, start + 4)
    else:
        width, height = struct.unpack_from("<ii", data, start + 4)
    return abs(width), abs(height)


def _check_tiff(data: bytes) -> None:
    order = "<" if data[:2] == b"II" else ">"
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    big = version == 43
    (directory,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)
    (entries,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, directory)
    first, size = directory + (8 if big else 2), 20 if big else 12
    for number in range(min(entries, 65_535)):
        tag, _, count = struct.unpack_from(
            f"{order}HHQ" if big else f"{order}HHI", data, first + number * size
        )
        if tag in _TIFF_PIECES and count > MOST_PIECES:
            raise BadInput(f"the TIFF is cut into {count:,} pieces; at most {MOST_PIECES:,} are allowed")
