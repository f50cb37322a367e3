from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.images import THUMBNAIL_SIDE, decode, thumbnail, thumbnail_of
from app.picture_file import read_picture
from graph_store.errors import BadInput
from tests.ingest.conftest import drawn


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def corner(data: bytes) -> tuple[int, ...]:
    """The colour of the upper left pixel after decoding."""
    pixel = decode(data).image.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and brings next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"])
def test_every_usual_format_is_decoded_to_rgb(format: str) -> None:
    decoded = decode(saved(drawn(1), format))

    assert decoded.image.mode == "RGB"
    assert (decoded.width, decoded.height) == decoded.image.size == (40, 30)
    difference = np.abs(np.asarray(decoded.image, dtype=int) - np.asarray(drawn(1), dtype=int))
    assert difference.mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_exif_rotation_is_undone(format: str, orientation: int) -> None:
    upright = Image.new("RGB", (40, 24), "white")
    upright.paste((255, 0, 0), (0, 0, 10, 6))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation

    decoded = decode(saved(stored, format, exif=exif))

    assert (decoded.width, decoded.height) == decoded.image.size == (40, 24)
    red, green, _ = decoded.image.getpixel((3, 2))  # type: ignore[misc]
    assert red > 200 and green < 80


def test_cmyk_becomes_rgb() -> None:
    data = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")

    red, green, blue = corner(data)

    assert red > 200 and green < 60 and blue < 60


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (32768, 128), (65535, 255)])
def test_sixteen_bit_grey_keeps_its_tones(value: int, expected: int) -> None:
    data = saved(Image.fromarray(np.full((8, 8), value, dtype=np.uint16)), "PNG")

    assert corner(data) == (expected, expected, expected)


def deep_png(red: int, green: int, blue: int) -> bytes:
    """Two by two pixels of one colour, 16 bits each, which Pillow reads but does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + struct.pack(">3H", red, green, blue) * 2) * 2
    size = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def deep_tiff(order: str, red: int, green: int, blue: int) -> bytes:
    """The same as a TIFF; `order` is < or >, as in struct."""
    pixels = struct.pack(f"{order}3H", red, green, blue) * 4
    bits = struct.pack(f"{order}3H", 16, 16, 16)
    at_bits = 8
    at_pixels = at_bits + len(bits)
    short, long = 3, 4
    fields = [
        (256, short, 1, 2),  # width
        (257, short, 1, 2),  # height
        (258, short, 3, at_bits),
        (259, short, 1, 1),  # not compressed
        (262, short, 1, 2),  # RGB
        (273, long, 1, at_pixels),
        (277, short, 1, 3),
        (278, short, 1, 2),  # all rows in one strip
        (279, long, 1, len(pixels)),
        (284, short, 1, 1),  # pixel by pixel
    ]
    directory = struct.pack(f"{order}H", len(fields))
    for tag, kind, count, value in fields:
        held = f"{order}HHIHxx" if kind == short and count == 1 else f"{order}HHII"
        directory += struct.pack(held, tag, kind, count, value)
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HI", 42, at_pixels + len(pixels))
    return head + bits + pixels + directory + b"\0\0\0\0"


@pytest.mark.parametrize(
    "deep",
    [deep_png, partial(deep_tiff, "<"), partial(deep_tiff, ">")],
    ids=["PNG", "little-endian TIFF", "big-endian TIFF"],
)
def test_sixteen_bit_colours_keep_their_tones(deep: Callable[[int, int, int], bytes]) -> None:
    assert corner(deep(65535, 32768, 300)) == (255, 128, 1)


def test_floating_point_tiff_is_stretched_to_its_range() -> None:
    values = np.linspace(-3.0, 7.0, 64, dtype=np.float32).reshape(8, 8)

    image = decode(saved(Image.fromarray(values), "TIFF")).image

    assert image.getpixel((0, 0)) == (0, 0, 0) and image.getpixel((7, 7)) == (255, 255, 255)


def test_transparency_is_shown_over_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert corner(saved(clear, "PNG")) == (255, 255, 255)
    assert corner(saved(Image.new("LA", (8, 8), (0, 0)), "PNG")) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_is_shown_over_white() -> None:
    image = Image.new("P", (8, 8), 3)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])

    assert corner(saved(image, "PNG")) == (0, 0, 255)
    assert corner(saved(image, "PNG", transparency=3)) == (255, 255, 255)
    assert corner(saved(image, "GIF", transparency=3)) == (255, 255, 255)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]

    red, _, blue = corner(saved(frames[0], format, save_all=True, append_images=frames[1:]))

    assert red > 200 and blue < 60


def test_a_wrong_file_name_does_not_matter_because_only_the_bytes_are_looked_at() -> None:
    assert decode(saved(drawn(0), "PNG")).format == "PNG"


def test_a_large_jpeg_is_decoded_smaller_and_keeps_its_real_size() -> None:
    decoded = decode(saved(drawn(0, (2400, 1600)), "JPEG"))

    assert (decoded.width, decoded.height) == (2400, 1600)
    assert decoded.image.size == (1200, 800)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"hello, this is text", "not a picture"),
        (b"%PDF-1.7 ...", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg/>", "SVG"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\xff\xd8\xff\xe0", "damaged"),
        (b"RIFF\x00\x00\x00\x00WEBP", "not a picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        decode(data)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_picture_is_refused(format: str) -> None:
    draw = np.random.default_rng(0)
    whole = saved(Image.fromarray(draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)), format)

    for kept in (0.1, 0.5, 0.9):
        with pytest.raises(BadInput):
            decode(whole[: int(len(whole) * kept)])


@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(BadInput, match="pixels"):
        decode(header_only_png(side, side))


def test_the_callers_limits_hold() -> None:
    data = saved(drawn(0), "PNG")
    with pytest.raises(BadInput, match="40 x 30"):
        decode(data, max_pixels=1199)
    with pytest.raises(BadInput, match="bytes"):
        decode(data, max_bytes=len(data) - 1)
    assert decode(data, max_pixels=1200, max_bytes=len(data)).width == 40


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(10**6)
    with pytest.raises(BadInput, match="1,000,000 bytes; at most 999,999 are allowed"):
        read_picture(path, 999_999)
    assert len(read_picture(path, 10**6)) == 10**6


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_a_heic_picture_is_refused_with_what_to_do(brand: bytes) -> None:
    header = struct.pack(">I4s4sI", 24, b"ftyp", brand, 0) + b"mif1heic"
    with pytest.raises(BadInput, match=r"HEIC picture.*convert it to JPEG"):
        decode(header + bytes(1000))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_a_named_refusal(data: bytes) -> None:
    try:
        decode(data)
    except BadInput as error:
        assert error.message


@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF"]),
    st.integers(0, 10**6),
    st.integers(0, 255),
)
def test_a_flipped_byte_gives_a_picture_or_a_named_refusal(format: str, place: int, value: int) -> None:
    data = bytearray(saved(drawn(0), format))
    data[place % len(data)] = value
    try:
        decode(bytes(data))
    except BadInput as error:
        assert error.message


def test_a_thumbnail_fits_its_square_and_is_never_enlarged() -> None:
    large = Image.open(io.BytesIO(thumbnail(drawn(0, (1000, 400)))))
    small = Image.open(io.BytesIO(thumbnail(drawn(0, (50, 20)))))

    assert large.format == "WEBP" and large.size == (THUMBNAIL_SIDE, 102)
    assert small.size == (50, 20)


def test_a_small_webp_is_its_own_thumbnail_unless_it_says_more_than_the_picture() -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    bare = saved(drawn(0), "WEBP")
    telling = saved(drawn(0), "WEBP", exif=exif)
    large = saved(drawn(0, (300, 300)), "WEBP")

    assert thumbnail_of(bare, decode(bare)) == bare
    assert b"where I live" not in thumbnail_of(telling, decode(telling))
    assert max(Image.open(io.BytesIO(thumbnail_of(large, decode(large)))).size) == THUMBNAIL_SIDE
    assert thumbnail_of(bare + b"tail", decode(bare + b"tail")) != bare + b"tail"
