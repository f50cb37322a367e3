"""Pictures that are large, or pretend to be small: handled in bounded memory, or refused by their header."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmDecoder

from app import images, pixel_modes
from app.image_headers import MOST_PIECES, MOST_PPM_COMMENTS, MOST_SCANS, is_kept_whole
from app.images import decode
from app.ingest.keywords import embedded_keywords, xmp_keywords
from app.pixel_modes import to_rgb
from app.unpacking import UnpackingRoom
from graph_store.errors import BadInput
from tests.hostile.pictures import icon_of, png_chunk, png_header, tiff_in_pieces, tiff_of_one_tile

MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I", "F", "I;16"]


def noise(mode: str, width: int, height: int) -> Image.Image:
    """A picture of that mode in which no two rows are alike."""
    values = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[:, :, 0].astype(np.uint16) * 200)
    if mode in ("I", "F"):
        return Image.fromarray(values[:, :, 0].astype(np.int32 if mode == "I" else np.float32) * 3 - 100)
    picture = Image.fromarray(values, "RGBA")
    return picture.convert("RGB").convert("P") if mode == "P" else picture.convert(mode)


@given(st.sampled_from(MODES), st.integers(1, 60), st.integers(1, 60), st.integers(1, 900))
def test_a_picture_in_strips_is_the_picture_in_one_piece(
    mode: str, width: int, height: int, strip: int
) -> None:
    picture = noise(mode, width, height)
    whole = to_rgb(picture)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_modes, "_STRIP_PIXELS", strip)
        assert to_rgb(picture).tobytes() == whole.tobytes()
        for shrink in (2, 3):
            assert to_rgb(picture, shrink).tobytes() == whole.reduce(shrink).tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_picture_is_made_smaller_and_keeps_its_real_size(
    mode: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "LARGE_PIXELS", 1_000_000)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    noise(mode, 1700, 1100).save(buffer, "PNG", exif=exif)

    decoded = decode(buffer.getvalue())

    assert (decoded.width, decoded.height) == ((1700, 1100) if orientation == 1 else (1100, 1700))
    assert decoded.image.size == ((850, 550) if orientation == 1 else (550, 850))
    assert decoded.image.mode == "RGB"


@pytest.mark.parametrize("count", [1, 30, 500])
def test_a_row_of_comments_does_not_hold_up_the_service(count: int) -> None:
    began = time.process_time()
    with pytest.raises(BadInput, match="not a picture"):
        decode(b"<!---->" * count + b"x")
    assert time.process_time() - began < 5
    with pytest.raises(BadInput, match="SVG"):
        decode(b"<!-- a -->\n" * count + b"<svg>" if count < 300 else b"<svg>")


def test_an_icon_cannot_hide_a_picture_larger_than_its_directory_says() -> None:
    with pytest.raises(BadInput, match="icon holds 13000 x 13000"):
        decode(icon_of(png_header(13_000, 13_000)))
    bitmap = struct.pack("<IiiHHIIiiII", 40, 20_000, 20_000, 1, 32, 0, 0, 0, 0, 0, 0)
    with pytest.raises(BadInput, match="icon holds 20000 x 20000"):
        decode(icon_of(bitmap))
    with pytest.raises(BadInput, match="icon holds 65000 x 65000"):
        decode(icon_of(struct.pack("<IHHHH", 12, 65_000, 65_000, 1, 24)))
    assert decode(_icon()).width == 32


def test_an_icon_cannot_hide_a_picture_behind_one_that_is_not_in_the_file() -> None:
    png = png_header(13_000, 13_000)
    outside, inside = ((16, 16, 0, 0, 1, 32, len(png), start) for start in (0xFFFFFFF0, 6 + 2 * 16))
    entries = struct.pack("<BBBBHHII", *outside) + struct.pack("<BBBBHHII", *inside)
    with pytest.raises(BadInput, match="icon holds 13000 x 13000"):
        decode(struct.pack("<HHH", 0, 1, 2) + entries + png)


def _icon() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, "ICO", sizes=[(32, 32)])
    return buffer.getvalue()


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_in_too_many_pieces_is_refused_before_they_are_counted_out(big: bool) -> None:
    with pytest.raises(BadInput, match="cut into 100,001 pieces"):
        decode(tiff_in_pieces(MOST_PIECES + 1, big=big))
    assert decode(tiff_in_pieces(500, big=big)).height == 500


@pytest.mark.parametrize("count", [0, 1])
def test_an_entry_whose_value_is_not_in_the_file_does_not_hide_the_pieces_of_a_tiff(count: int) -> None:
    outside = (322, 16, count, 0xFFFFFFF0)
    with pytest.raises(BadInput, match="cut into 100,001 pieces"):
        decode(tiff_in_pieces(MOST_PIECES + 1, first=[outside]))


def test_a_tiff_with_an_entry_that_has_no_value_is_read() -> None:
    assert decode(tiff_in_pieces(500, first=[(322, 16, 0, 0xFFFFFFF0)])).height == 500


def _scans() -> tuple[bytes, bytes, bytes]:
    """A progressive JPEG without its end, the last scan of it, and the end."""
    jpeg = _jpeg(60, 40, progressive=True)
    return jpeg[:-2], jpeg[jpeg.rindex(b"\xff\xda") : -2], jpeg[-2:]


def test_a_jpeg_of_too_many_scans_is_refused_before_it_is_unpacked() -> None:
    whole, last, end = _scans()
    most = MOST_SCANS - whole.count(b"\xff\xda")

    assert decode(whole + last * most + end).image.size == (60, 40)
    with pytest.raises(BadInput, match="too many scans; at most 100"):
        decode(whole + last * (most + 1) + end)
    # What stands behind the picture, such as a film, or beside it is not unpacked.
    beside = b"\xff\xee\x01\x02" + b"\xff\xda" * 128
    assert decode(whole[:2] + beside + whole[2:] + end + last * 200).image.size == (60, 40)


def test_scans_behind_a_stream_of_tables_alone_are_counted() -> None:
    whole, last, end = _scans()
    tables = b"\xff\xd8\xff\xd9"
    assert decode(tables + whole + end).image.size == (60, 40)
    with pytest.raises(BadInput, match="too many scans"):
        decode(tables + whole + last * MOST_SCANS + end)


def test_scans_behind_what_is_passed_over_on_the_way_to_a_restart_are_counted() -> None:
    whole, last, end = _scans()
    restarts, header = b"\xff\xdd\0\4\0\1", last[: 2 + int.from_bytes(last[2:4], "big")]
    # Taken for a block, it would go on for so many bytes that it hides all scans behind it.
    passed_over = b"\xff\x02\xff\xff"
    with pytest.raises(BadInput, match="too many scans"):
        decode(whole + restarts + (header + passed_over) * (2 * MOST_SCANS) + end)


@pytest.mark.parametrize("block", [b"\xff\xfe\x00\x02", b"\xff", b"\0"], ids=["comments", "filling", "zeros"])
def test_a_jpeg_of_too_many_blocks_before_its_pixels_is_refused(block: bytes) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 60)).save(buffer, "JPEG")
    first, rest = buffer.getvalue()[:20], buffer.getvalue()[20:]

    assert decode(first + block * 1_000 + rest).image.size == (40, 60)
    with pytest.raises(BadInput, match="too many blocks"):
        decode(first + block * 100_001 + rest)


def _whole_png(*, before: bytes = b"", first: bytes = b"", behind: bytes = b"") -> bytes:
    """A PNG of 16 x 16 with chunks in front of its size, and before and behind its pixels."""
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "PNG")
    png = buffer.getvalue()
    pixels, end = png.index(b"IDAT") - 4, png.index(b"IEND") - 4
    return png[:8] + first + png[8:pixels] + before + png[pixels:end] + behind + png[end:]


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("wrap", [bytes, icon_of], ids=["alone", "in an icon"])
def test_a_png_of_too_many_chunks_is_refused_before_it_is_opened(
    place: str, wrap: Callable[[bytes], bytes]
) -> None:
    empty = png_chunk(b"abCd", b"")
    assert decode(wrap(_whole_png(**{place: empty * 1_000}))).width == 16
    with pytest.raises(BadInput, match="too many chunks"):
        decode(wrap(_whole_png(**{place: empty * 100_000})))


@pytest.mark.parametrize("wrap", [bytes, icon_of], ids=["alone", "in an icon"])
def test_a_png_tells_its_size_first_and_once(wrap: Callable[[bytes], bytes]) -> None:
    size = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 3000, 3000, 8, 0, 0, 0, 0))
    pretended = png_chunk(b"tEXt", struct.pack(">II", 16, 16) + b"\0x")
    for png in (_whole_png(before=size), _whole_png(first=pretended)):
        with pytest.raises(BadInput, match="its size has to be told at its beginning, and once"):
            decode(wrap(png), max_pixels=1_000_000)


def test_a_ppm_of_comments_is_refused_before_they_are_passed_over() -> None:
    def ppm(comments: int) -> bytes:
        return b"P2\n64 64\n255\n" + b"#\n" * comments + b"1 " * 4096

    assert decode(ppm(MOST_PPM_COMMENTS)).width == 64
    with pytest.raises(BadInput, match="too many comments; at most 1,000"):
        decode(ppm(MOST_PPM_COMMENTS + 1))


@pytest.mark.parametrize("header", [b"P1 3000 2000 ", b"P3 1000 2000 255 ", b"P5 3000 2000 254 "])
def test_a_ppm_that_takes_a_step_for_each_value_is_read_up_to_a_size(header: bytes) -> None:
    small = header.replace(b"000 ", b"0 ")
    assert decode(small + b"1 " * 60_000).width in (10, 30)
    with pytest.raises(BadInput, match="4,194,304 bytes at most; convert it to PNG first"):
        decode(header + b"1 " * 6_000_000)


@pytest.mark.parametrize("header", [b"P4 6000 6000 ", b"P6 1000 2000 255 ", b"P5 1000 3000 65535\n"])
def test_a_large_ppm_that_is_taken_as_a_whole_is_read(header: bytes) -> None:
    assert decode(header + b"1" * 9_000_000).width in (1000, 6000)


def test_a_ppm_of_16_bits_is_read_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PpmDecoder, "decode", lambda *_: pytest.fail("it was read value by value"))
    values = (np.arange(36) * 1_800).astype(">u2")
    decoded = decode(b"P6\n# by hand\n6 2\n65535\n" + values.tobytes())
    assert decoded.image.tobytes() == bytes(int(value) >> 8 for value in values)


@pytest.mark.parametrize("filling", [b" ", b"#c\n"])
def test_a_ppm_whose_header_does_not_end_is_refused(filling: bytes) -> None:
    assert decode(b"P5 " + filling * 100 + b"1 1 255 x").width == 1
    with pytest.raises(BadInput, match="not a picture of a known format, or its beginning is damaged"):
        decode(b"P5 " + filling * 100_000 + b"1 1 255 x")


class CountedRoom(UnpackingRoom):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[int] = []

    @contextmanager
    def taking(self, pixels: int) -> Iterator[None]:
        self.asked.append(pixels)
        yield


@pytest.mark.parametrize("kind", [4, 9])
def test_a_tiffs_tile_is_held_to_the_limit_and_counts_as_what_it_unpacks_to(kind: int) -> None:
    tiff = tiff_of_one_tile(100, 1024, kind=kind)
    with pytest.raises(BadInput, match="tiles of 1024 x 1024 pixels; at most 1,000,000"):
        decode(tiff, max_pixels=1_000_000)
    room = CountedRoom()
    assert decode(tiff, room=room).width == 100
    assert room.asked == [1024 * 1024]


def _jpeg(width: int = 1200, height: int = 1100, **options: Any) -> bytes:
    buffer = io.BytesIO()
    noise("RGB", width, height).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def test_a_jpeg_that_is_kept_whole_counts_as_the_whole_and_another_as_what_is_made_of_it() -> None:
    room = CountedRoom()
    for progressive in (False, True):
        assert decode(_jpeg(progressive=progressive), room=room).image.size == (600, 550)
    assert room.asked == [600 * 550, 1200 * 1100]


def test_a_jpeg_is_kept_whole_when_a_scan_has_some_of_its_colours_only() -> None:
    jpeg = _jpeg()
    scan = jpeg.index(b"\xff\xda")
    assert jpeg[scan + 4] == 3 and not is_kept_whole(jpeg)
    assert is_kept_whole(jpeg[: scan + 4] + b"\1" + jpeg[scan + 5 :])
    assert not any(is_kept_whole(jpeg[:end]) for end in range(scan))
    assert is_kept_whole(b"\xff\xd8" + b"\xff\xfe\0\2" * 100_000)


def test_a_progressive_jpeg_behind_a_stream_of_tables_alone_is_kept_whole() -> None:
    assert is_kept_whole(b"\xff\xd8\xff\xd9" + _jpeg(progressive=True))


def test_an_icon_waits_for_its_turn_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    room, asked_before = CountedRoom(), []
    load = PngImageFile.load

    def noted(image: PngImageFile) -> Any:
        asked_before.append(list(room.asked))
        return load(image)

    monkeypatch.setattr(PngImageFile, "load", noted)
    assert decode(_icon(), room=room).width == 32
    assert asked_before[0] == room.asked == [32 * 32]


def test_keywords_are_not_looked_for_in_an_icon_which_would_unpack_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unpacked(image: PngImageFile) -> None:
        pytest.fail(f"{image.size} was unpacked")

    monkeypatch.setattr(PngImageFile, "load", unpacked)
    assert embedded_keywords(_icon()) == []


def test_a_limit_above_pillows_own_is_the_one_that_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    buffer = io.BytesIO()
    Image.new("1", (60, 50)).save(buffer, "PNG")
    assert decode(buffer.getvalue(), max_pixels=3000).width == 60
    with pytest.raises(BadInput, match="60 x 50 pixels; at most 2,999"):
        decode(buffer.getvalue(), max_pixels=2999)


def test_a_picture_that_is_a_thread_is_refused() -> None:
    def saved(size: tuple[int, int]) -> bytes:
        buffer = io.BytesIO()
        Image.new("L", size).save(buffer, "PNG")
        return buffer.getvalue()

    assert decode(saved((2000, 2))).width == 2000
    with pytest.raises(BadInput, match="1,000 times"):
        decode(saved((2, 2002)))


def test_keywords_inside_one_another_take_no_longer_than_side_by_side() -> None:
    def packet(inside: str) -> bytes:
        return (
            '<x xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
            f' xmlns:dc="http://purl.org/dc/elements/1.1/">{inside}</x>'
        ).encode()

    def keywords(inside: Any) -> list[str]:
        began = time.process_time()
        found = xmp_keywords(packet(inside))
        assert time.process_time() - began < 10
        return found

    bag = "<dc:subject><rdf:Bag><rdf:li>a</rdf:li><rdf:li> b </rdf:li></rdf:Bag></dc:subject>"
    assert keywords(bag) == ["a", "b"]
    deep = 30_000
    assert keywords("<dc:subject>" * deep + "</dc:subject>" * deep) == []
    nested = (
        "<dc:subject><rdf:Bag>" + "<rdf:li>" * deep + "a" + "</rdf:li>" * deep + "</rdf:Bag></dc:subject>"
    )
    assert len(keywords(nested)) <= 1
