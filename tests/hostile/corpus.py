"""Pictures that are meant to do harm, or merely odd, by name. All are made here, and most are small.

`GOOD` are unusual but whole; `BAD` must be refused; of `EITHER` nothing is asked but an answer.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.pictures import PNG, icon_of, png_chunk, png_header, tiff_in_pieces, tiff_of_one_tile

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO")

_SIDE = 48
_XMP = "http://ns.adobe.com/xap/1.0/\0"
_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 20}">'
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + ']><x:xmpmeta xmlns:x="adobe:ns:meta/">&i;</x:xmpmeta>'
)
_OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    '<x xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    "<dc:subject><rdf:Bag><rdf:li>&e;</rdf:li></rdf:Bag></dc:subject></x>"
)


def noise(mode: str = "RGB", size: tuple[int, int] = (_SIDE, _SIDE)) -> Image.Image:
    """A picture that hardly shrinks, so that a cut file lacks pixels."""
    values = np.random.default_rng(5).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(values, "RGBA").convert("RGB").convert(mode)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _jpeg_with(marker: int, body: bytes) -> bytes:
    jpeg = saved(noise(), "JPEG")
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + jpeg[2:]


def _png_with(*chunks: bytes) -> bytes:
    png = saved(noise(), "PNG")
    end_of_header = 8 + 25
    return png[:end_of_header] + b"".join(chunks) + png[end_of_header:]


def _jpeg_of_size(width: int, height: int) -> bytes:
    jpeg = bytearray(saved(noise(), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def webp_of_size(width: int, height: int) -> bytes:
    """A lossless WebP of one colour that claims this size: 34 bytes, and all of its pixels are there."""
    webp = bytearray(saved(Image.new("RGB", (16, 16)), "WEBP", lossless=True))
    at = webp.index(b"VP8L") + 9
    kept = int.from_bytes(webp[at : at + 4], "little") >> 28 << 28
    webp[at : at + 4] = (kept | (width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return bytes(webp)


def _exifs() -> dict[str, bytes]:
    head = b"Exif\0\0"

    def directory(*entries: bytes, after: int = 0) -> bytes:
        return (
            b"II*\0\x08\0\0\0"
            + struct.pack("<H", len(entries))
            + b"".join(entries)
            + struct.pack("<I", after)
        )

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, count, value)

    return {
        "nothing": head,
        "no header": head + b"\0" * 40,
        "cut": head + b"II*\0\x08\0",
        "many entries": head + b"II*\0\x08\0\0\0\xff\xff",
        "in a circle": head + directory(entry(0x8769, 4, 1, 8), after=8),
        "value far away": head + directory(entry(0x0112, 3, 1 << 30, 0xFFFFFFF0)),
        "unknown kind": head + directory(entry(0x0112, 99, 1, 6)),
        "orientation 99": head + directory(entry(0x0112, 3, 1, 99)),
        "orientation as text": head + directory(entry(0x0112, 2, 4, 0x00363636)),
        "orientation as a fraction": head + directory(entry(0x0112, 5, 1, 0)),
        "orientation thrice": head + directory(entry(0x0112, 3, 2, 0x00060006)),
    }


def _xmps() -> dict[str, bytes]:
    return {
        "laughs": _LAUGHS.encode(),
        "outside": _OUTSIDE.encode(),
        "cut": b"<x:xmpmeta",
        "binary": bytes(range(256)),
        "utf-16": _OUTSIDE.encode("utf-16"),
        "deep": b"<a>" * 5000,
    }


def _svgs() -> dict[str, bytes]:
    inside = "<script>alert(1)</script>"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">{inside}</svg>'
    return {
        "script.svg": svg.encode(),
        "entity.svg": f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY e SYSTEM "file:///etc/passwd">]>{svg}'.encode(),
        "laughs.svg": _LAUGHS.replace("x:xmpmeta", "svg").encode(),
        "utf-16.svg": svg.encode("utf-16"),
        "packed.svgz": gzip.compress(svg.encode(), mtime=0),
        "comments.svg": b"<!---->" * 500 + b"<svg/>",
        "nearly.svg": b"<!-- -->" * 500 + b"x",
        "svg called png.png": svg.encode(),
    }


@cache
def good() -> dict[str, bytes]:
    """Whole pictures of every unusual kind."""
    frames = [noise(), noise("L").convert("RGB"), Image.new("RGB", (_SIDE, _SIDE), "red")]
    script = b"=1;alert(1)//<script>alert(1)</script>"
    gif = saved(noise(), "GIF")
    files = {f"plain.{format.lower()}": saved(noise(), format) for format in FORMATS}
    for format in ("GIF", "WEBP", "PNG", "TIFF", "AVIF"):
        files[f"animated.{format.lower()}"] = saved(
            frames[0], format, save_all=True, append_images=frames[1:] * 10
        )
    files |= {
        "16 bit grey.png": saved(Image.fromarray(np.full((9, 9), 40_000, dtype=np.uint16)), "PNG"),
        "16 bit.tiff": saved(Image.fromarray(np.full((9, 9), 40_000, dtype=np.uint16)), "TIFF"),
        "float.tiff": saved(Image.fromarray(np.eye(9, dtype=np.float32) * np.nan), "TIFF"),
        "cmyk.jpg": saved(noise("CMYK"), "JPEG"),
        "cmyk.tiff": saved(noise("CMYK"), "TIFF"),
        "palette.gif": saved(noise("P"), "GIF", transparency=3),
        "one bit.png": saved(noise("1"), "PNG"),
        "one pixel.png": saved(Image.new("RGB", (1, 1)), "PNG"),
        "jpeg called gif.gif": saved(noise(), "JPEG"),
        "no ending": saved(noise(), "PNG"),
        "gif and script.gif": gif + script,
        "jpeg and page.jpg": saved(noise(), "JPEG") + b"<html><script>alert(1)</script></html>",
        "png and zip.png": saved(noise(), "PNG") + b"PK\x03\x04" + b"\0" * 60,
        "comment.jpg": _jpeg_with(0xFE, b"<script>alert(1)</script>"),
        "broken colours.jpg": _jpeg_with(0xE2, b"ICC_PROFILE\0\x01\x01" + b"\xff" * 200),
        "broken colours.png": _png_with(png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\xff" * 200))),
        "broken keywords.jpg": _jpeg_with(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\xff\xff\xff\xff\x1c\x02"),
        "long keyword.jpg": _jpeg_with(
            0xED,
            b"Photoshop 3.0\x008BIM\x04\x04\0\0"
            + struct.pack(">I", 9005)
            + b"\x1c\x02\x19\x23\x28"
            + b"k" * 9000,
        ),
    }
    files |= {f"exif {name}.jpg": _jpeg_with(0xE1, exif) for name, exif in _exifs().items()}
    files |= {f"exif {name}.png": _png_with(png_chunk(b"eXIf", exif[6:])) for name, exif in _exifs().items()}
    files |= {f"xmp {name}.jpg": _jpeg_with(0xE1, _XMP.encode() + xmp) for name, xmp in _xmps().items()}
    return files


@cache
def bad() -> dict[str, bytes]:
    """What must be refused."""
    gif = saved(noise(), "GIF")
    wide = struct.pack("<HH", 65_535, 65_535)
    return {
        "empty.png": b"",
        "one byte.png": b"\x89",
        "text.png": b"hello",
        "page.jpg": b"<html><script>alert(1)</script></html>" + saved(noise(), "JPEG"),
        "paper.pdf": b"%PDF-1.7\n" + saved(noise(), "JPEG"),
        "postscript.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "noise.webp": np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes(),
        "bomb.png": png_header(60_000, 60_000),
        "bomb of no width.png": png_header(0, 60_000),
        "negative.png": png_header(0xFFFFFFFF, 0xFFFFFFFF),
        "bomb.gif": gif[:6] + wide + gif[10:],
        "bomb.jpg": _jpeg_of_size(65_500, 65_500),
        "bomb.webp": webp_of_size(16_383, 16_383),
        "bomb.ico": icon_of(png_header(13_000, 13_000)),
        "bomb.tiff": tiff_in_pieces(9).replace(
            struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHII", 256, 4, 1, 1 << 30)
        ),
        "thread.webp": webp_of_size(16_383, 2),
        "pieces.tiff": tiff_in_pieces(100_001),
        "tile.tiff": tiff_of_one_tile(100, 12_000),
        "header only.png": PNG,
        "no pixels.png": png_header(40, 40),
        **_svgs(),
    }


@cache
def either() -> dict[str, bytes]:
    """Cut at seven places, or with texts that unpack to too much: refused, or the picture counts."""
    files: dict[str, bytes] = {}
    for format in FORMATS:
        whole = saved(noise(), format)
        for share in range(5, 100, 15):
            files[f"cut at {share}.{format.lower()}"] = whole[: len(whole) * share // 100]
    much = zlib.compress(b"a" * 70_000_000, 9)
    files["text bomb.png"] = _png_with(png_chunk(b"zTXt", b"Comment\0\0" + much))
    files["colour bomb.png"] = _png_with(png_chunk(b"iCCP", b"x\0\0" + much))
    files["keyword bomb.png"] = _png_with(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + much))
    files["xmp in a form nobody knows.png"] = _png_with(
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _LAUGHS.encode())
    )
    return files


def everything() -> dict[str, bytes]:
    """All of them."""
    return {**good(), **bad(), **either()}
