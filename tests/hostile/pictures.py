"""Hostile picture files, made by hand: each a name and its bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

PNG = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG, its checksum right."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """A PNG that claims a size and brings next to nothing; `more`: chunks before its pixels."""
    size = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return PNG + png_chunk(b"IHDR", size) + more + pixels + png_chunk(b"IEND", b"")


def png_of_zeros(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    """A whole PNG that unpacks to a thousand times its size. 0 is grey, 2 RGB, 4 grey and alpha, 6 RGBA."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * channels * depth + 7) // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    size = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG + png_chunk(b"IHDR", size) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def icon_of(inner: bytes) -> bytes:
    """An icon whose directory says 16 x 16, whatever is in it."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner


def tiff_in_pieces(
    pieces: int, *, big: bool = False, first: Sequence[tuple[int, int, int, int]] = ()
) -> bytes:
    """A grey TIFF of 8 x `pieces` pixels in strips of one row, classic or BigTIFF. `first`: more entries
    (tag, type, count, value) in front of its directory.
    """
    number, entry, head = ("Q", "<HHQQ", 16) if big else ("I", "<HHII", 8)
    wide = 16 if big else 4  # the type of a whole number of that size
    size = struct.calcsize(number)
    offsets, counts = head, head + size * pieces
    directory = counts + size * pieces
    tags = [
        *first,
        (256, wide, 1, 8),
        (257, wide, 1, pieces),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, wide, pieces, offsets),
        (277, 3, 1, 1),
        (278, wide, 1, 1),
        (279, wide, pieces, counts),
    ]
    start = (
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, directory)
        if big
        else struct.pack("<2sHI", b"II", 42, directory)
    )
    # All strips are the same eight bytes: the beginning of the file.
    body = struct.pack(f"<{pieces}{number}", *[0] * pieces) + struct.pack(f"<{pieces}{number}", *[8] * pieces)
    listing = struct.pack("<Q" if big else "<H", len(tags)) + b"".join(
        struct.pack(entry, *tag) for tag in tags
    )
    return start + body + listing + struct.pack(f"<{number}", 0)


def tiff_of_one_tile(side: int, tile: int, *, kind: int = 4) -> bytes:
    """A grey TIFF of `side` x `side` pixels in one deflated tile of `tile` x `tile`; kind: the TIFF type in
    which the tile's size is written.
    """
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(bytes(tile)) for _ in range(tile)) + packer.flush()
    tags = [
        (256, 4, 1, side),
        (257, 4, 1, side),
        (258, 3, 1, 8),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
        (322, kind, 1, tile),
        (323, kind, 1, tile),
        (324, 4, 1, 8),
        (325, 4, 1, len(pixels)),
    ]
    listing = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    return start + pixels + listing + struct.pack("<I", 0)


def box(kind: bytes, body: bytes) -> bytes:
    """One box of the container of an AVIF."""
    return struct.pack(">I", 8 + len(body)) + kind + body


def avif_of(picture: bytes, *, items: int = 1, cuts: Sequence[int] = ()) -> bytes:
    """The container of an AVIF around what claims to be AV1: once, listed so many times, cut at these places
    into parts that are far from one another. Nothing else that a decoder needs is in it.
    """
    places = [0, *cuts, len(picture)]
    parts = [picture[start:end] for start, end in pairwise(places)]
    kept = (b"\n" * 5).join(parts)
    listed = b"".join(
        box(b"infe", struct.pack(">IHH4sx", 2 << 24, item, 0, b"av01")) for item in range(items)
    )
    extents, start = b"", 0
    for part in parts:
        extents += struct.pack(">II", start, len(part))
        start += len(part) + 5
    # Version 1, numbers of four bytes; each item is in the box `idat`, and has these parts.
    where = struct.pack(">I2BH", 1 << 24, 0x44, 0, items) + b"".join(
        struct.pack(">HHHH", item, 1, 0, len(parts)) + extents for item in range(items)
    )
    inside = box(b"iinf", struct.pack(">IH", 0, items) + listed) + box(b"iloc", where) + box(b"idat", kept)
    return box(b"ftyp", b"avif\0\0\0\0avifmif1") + box(b"meta", bytes(4) + inside)
