"""Pictures that are large, or pretend to be small: handled in bounded memory, or refused by their header."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app import images, pixel_modes
from app.image_headers import MOST_PIECES
from app.images import decode
from app.ingest.keywords import xmp_keywords
from app.pixel_modes import to_rgb
from graph_store.errors import BadInput
from tests.hostile.pictures import icon_of, png_header, tiff_in_pieces

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


def _icon() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, "ICO", sizes=[(32, 32)])
    return buffer.getvalue()


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_in_too_many_pieces_is_refused_before_they_are_counted_out(big: bool) -> None:
    with pytest.raises(BadInput, match="cut into 100,001 pieces"):
        decode(tiff_in_pieces(MOST_PIECES + 1, big=big))
    assert decode(tiff_in_pieces(500, big=big)).height == 500


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
