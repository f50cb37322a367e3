"""What the headers of some formats hide from the usual check of width and height."""

from __future__ import annotations

import re
import struct

from app.avif_sizes import avif_sizes, is_avif
from graph_store.errors import BadInput

MOST_PIECES = 100_000
"""Strips or tiles of a TIFF. Each is an object of Python's before the first is read: four million of them,
which 32 MB hold, took 35 seconds and 1.4 GB."""

MOST_SCANS = 100
"""Scans of a JPEG, which goes over its pixels once for each; a progressive one has ten or so. One of 95 bytes
may be repeated without end: 64 MB held 50 minutes of work."""

MOST_PPM_COMMENTS = 1_000
"""Number signs in a PPM as text. Pillow copies up to a megabyte for each comment: 32 MB of nothing
else are ten minutes of work."""

MOST_SLOW_PPM_BYTES = 4 * 2**20
"""Bytes of a PPM of which Pillow looks at one value after the other: a million in a second."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KIND = re.compile(rb"\w{4}")
_MOST_PNG_CHUNKS = 100_000
"""Pillow goes over them one by one, a million in 6 seconds."""
_AVIF_PICTURES = 4
"""How many pictures of the largest size an AVIF may hold: one, its transparency, and some room for more."""
_PPM = re.compile(rb"P[0-6fy]")
"""What Pillow takes for a PPM, and looks for a header in, however far it has to go."""
_PPM_GAP = rb"\s(?:\s|#[^\r\n]*+[\r\n])*+"
_PPM_HEADER = re.compile(
    rb"P([1-6f])" + _PPM_GAP + rb"\d{1,10}" + _PPM_GAP + rb"\d{1,10}(?:" + _PPM_GAP + rb"([^\s#]{1,10}))?\s"
)
_MOST_PPM_HEADER_BYTES = 64 * 2**10
_ICON = b"\x00\x00\x01\x00"
_CORE_HEADER_BYTES = 12
_TIFF_PIECES = (273, 324)
"""The tags StripOffsets and TileOffsets."""
_TIFF_TILE = (322, 323)
"""The tags TileWidth and TileLength."""
_TIFF_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "B", 8: "H", 9: "I", 16: "Q", 17: "Q"}
"""Types of whole numbers. Those with a sign are read without one, so that no size comes out small."""
_JPEG = b"\xff\xd8\xff"
_JPEG_MARKER = re.compile(rb"\xff([^\xff])", re.S)
_JPEG_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_JPEG_FRAMES = (0xC0, 0xC1, 0xC3, 0xC5, 0xC7, 0xC9, 0xCB, 0xCD, 0xCF)
_JPEG_SCAN = 0xDA
_JPEG_END = 0xD9
_JPEG_BLOCK = re.compile(rb"\xff([^\x00-\xbf\xd0-\xd8\xff])", re.S)
"""A marker behind which libjpeg reads a length. Other bytes that look like one are pixels or stand between
them: below 0xC0 libjpeg passes over the two bytes alone, on its way to the next restart.
"""
_MOST_JPEG_STEPS = 100_000
"""Blocks, and bytes between them, before the pixels: Pillow goes over them one by one, a million in
3 seconds."""
_MOST_JPEG_BLOCKS = 10_000
"""How many blocks before the pixels of a JPEG are looked through."""


def check_hidden_sizes(data: bytes, max_pixels: int) -> int:
    """The pixels of the largest part that is unpacked in one piece, whatever the size of the picture: an
    icon's largest picture, a TIFF's tile, all that an AVIF holds; 0 where there is none.

    Raises BadInput for one of more than `max_pixels`, for a TIFF in too many pieces, for a JPEG of too many
    scans or blocks, for a PNG of too many chunks, and for a PPM that would take too long. Most damaged
    headers are left for the decoder to refuse.
    """
    if data.startswith(_JPEG):
        _check_jpeg(data)
    if _PPM.match(data):
        _check_ppm(data)
    if is_avif(data):
        return _check_avif(data, max_pixels)
    try:
        if data.startswith(_PNG):
            _check_png(data, 0, _MOST_PNG_CHUNKS)
        if is_icon(data):
            return _check_icon(data, max_pixels)
        if data[:2] in (b"II", b"MM"):
            return _check_tiff(data, max_pixels)
    except struct.error:
        pass
    return 0


def is_icon(data: bytes) -> bool:
    """Whether it is an icon, the largest picture of which Pillow unpacks as soon as it opens it."""
    return data.startswith(_ICON)


def is_kept_whole(jpeg: bytes) -> bool:
    """Whether a decoder has to keep all of a JPEG in memory, however small it makes the picture: one in
    several scans, of which each tells more of the same pixels (progressive) or one of their colours.
    """
    at, colours = 2, 0
    for _ in range(_MOST_JPEG_BLOCKS):
        found = _JPEG_MARKER.search(jpeg, at)
        if found is None or found.end() + 8 > len(jpeg):
            return False
        marker, at = found[1][0], found.end()
        if marker in _JPEG_PROGRESSIVE:
            return True
        if marker in _JPEG_FRAMES:
            colours = jpeg[at + 7]
        if marker == _JPEG_SCAN:
            return jpeg[at + 2] < colours
        stands_alone = marker in (0x00, 0x01) or 0xD0 <= marker <= _JPEG_END
        at += 0 if stands_alone else int.from_bytes(jpeg[at : at + 2], "big")
    return True


def _check_jpeg(jpeg: bytes) -> None:
    # Few pictures have these two bytes so often, and in most of those they are in what was added to them.
    doubtful = jpeg.count(bytes((0xFF, _JPEG_SCAN))) > MOST_SCANS
    at, steps, scans = len(_JPEG) - 1, 0, 0
    while steps <= _MOST_JPEG_STEPS and scans <= MOST_SCANS:
        found = _JPEG_BLOCK.search(jpeg, at)
        between = (len(jpeg) if found is None else found.start()) - at
        steps += 1 if scans else 1 + between
        if found is None:
            break
        if found[1][0] == _JPEG_END:
            if scans:
                break
            at = found.end()  # Tables may be a stream of their own, behind which the picture comes.
            continue
        scans += found[1][0] == _JPEG_SCAN
        if scans and not doubtful:
            break
        at = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2], "big")
    if scans > MOST_SCANS:
        raise BadInput(f"the JPEG has too many scans; at most {MOST_SCANS} are allowed")
    if steps > _MOST_JPEG_STEPS:
        raise BadInput("the JPEG is made of too many blocks")


def _check_ppm(ppm: bytes) -> None:
    header = _PPM_HEADER.match(ppm, 0, _MOST_PPM_HEADER_BYTES)
    if header is None:
        raise BadInput("it is not a picture of a known format, or its beginning is damaged")
    kind, highest = header[1], header[2]
    as_text = kind in b"123"
    quick = kind in b"4f" or highest == b"255" or (highest == b"65535" and kind in b"56")
    if as_text and ppm.count(b"#") > MOST_PPM_COMMENTS:
        raise BadInput(f"the PPM has too many comments; at most {MOST_PPM_COMMENTS:,} are allowed")
    if (as_text or not quick) and len(ppm) > MOST_SLOW_PPM_BYTES:
        raise BadInput(
            "a PPM as text, or of other than 8 or 16 bits, may have"
            f" {MOST_SLOW_PPM_BYTES:,} bytes at most; convert it to PNG first"
        )


def _check_avif(avif: bytes, max_pixels: int) -> int:
    everything = 0
    for width, height in avif_sizes(avif):
        if width * height > max_pixels:
            raise BadInput(f"the AVIF holds {width} x {height} pixels; at most {max_pixels:,} are allowed")
        everything += width * height
    if everything > _AVIF_PICTURES * max_pixels:
        raise BadInput(f"the pictures in the AVIF have {everything:,} pixels together, which is too many")
    return everything


def _check_png(data: bytes, start: int, most: int) -> int:
    """How many chunks it has. Its size has to be the first of them, as Pillow goes by the last before the
    pixels; other programs read no file of another order.
    """
    at, count = start + len(_PNG), 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if (kind == b"IHDR") != (count == 0):
            raise BadInput("the PNG is damaged: its size has to be told at its beginning, and once")
        count += 1
        if count > most:
            raise BadInput("the PNG is made of too many chunks")
        if kind == b"IEND" or not _PNG_KIND.match(kind):
            break
        at += length + 12
    return count


def _check_icon(data: bytes, max_pixels: int) -> int:
    """An icon is a list of small pictures, each a PNG or a bitmap with a size of its own."""
    (count,) = struct.unpack_from("<H", data, 4)
    largest, chunks = 0, 0
    for number in range(count):
        (start,) = struct.unpack_from("<I", data, 6 + 16 * number + 12)
        try:
            width, height = _size_at(data, start)
        except struct.error:
            continue  # It lies outside of the file, so no other is the worse for it.
        if data.startswith(_PNG, start):
            chunks += _check_png(data, start, _MOST_PNG_CHUNKS - chunks)
        if width * height > max_pixels:
            raise BadInput(f"the icon holds {width} x {height} pixels; at most {max_pixels:,} are allowed")
        largest = max(largest, width * height)
    return largest


def _size_at(data: bytes, start: int) -> tuple[int, int]:
    if data[start : start + 8] == _PNG:
        width, height = struct.unpack_from(">II", data, start + 16)
    elif struct.unpack_from("<I", data, start)[0] == _CORE_HEADER_BYTES:
        width, height = struct.unpack_from("<HH", data, start + 4)
    else:
        width, height = struct.unpack_from("<ii", data, start + 4)
    return abs(width), abs(height)


def _check_tiff(data: bytes, max_pixels: int) -> int:
    order = "<" if data[:2] == b"II" else ">"
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    big = version == 43
    (directory,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)
    (entries,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, directory)
    first, size = directory + (8 if big else 2), 20 if big else 12
    tile = dict.fromkeys(_TIFF_TILE, 0)
    for number in range(min(entries, 65_535)):
        at = first + number * size
        tag, kind, count = struct.unpack_from(f"{order}HHQ" if big else f"{order}HHI", data, at)
        if tag in _TIFF_PIECES and count > MOST_PIECES:
            raise BadInput(f"the TIFF is cut into {count:,} pieces; at most {MOST_PIECES:,} are allowed")
        if tag in _TIFF_TILE:
            tile[tag] = max(tile[tag], _tiff_number(data, at, kind, order, big) if count == 1 else 0)
            width, length = tile.values()
            if width * length > max_pixels:
                raise BadInput(
                    f"the TIFF has tiles of {width} x {length} pixels; at most {max_pixels:,} are allowed"
                )
    return tile[_TIFF_TILE[0]] * tile[_TIFF_TILE[1]]


def _tiff_number(data: bytes, entry: int, kind: int, order: str, big: bool) -> int:
    """The value of an entry of a TIFF's directory that has one; 0 where it is no whole number, or is not in
    the file.
    """
    form = _TIFF_NUMBERS.get(kind)
    if form is None:
        return 0
    at, room = entry + (12 if big else 8), 8 if big else 4
    try:
        if struct.calcsize(form) > room:
            (at,) = struct.unpack_from(f"{order}I", data, at)
        return int(struct.unpack_from(f"{order}{form}", data, at)[0])
    except struct.error:
        return 0
