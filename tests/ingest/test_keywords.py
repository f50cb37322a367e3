from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from app.ingest.keywords import embedded_keywords, xmp_keywords
from tests.ingest.conftest import drawn

XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><rdf:Bag>
<rdf:li>lighthouse</rdf:li><rdf:li> Île de Ré </rdf:li><rdf:li>lighthouse</rdf:li></rdf:Bag></dc:subject>
<dc:title><rdf:Alt><rdf:li>not a keyword</rdf:li></rdf:Alt></dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def jpeg_with_iptc(*datasets: tuple[int, int, bytes]) -> bytes:
    """A JPEG with an APP13 block, as Photoshop writes it, that holds the given IPTC datasets."""
    iptc = b"".join(
        struct.pack(">BBBH", 0x1C, record, dataset, len(value)) + value for record, dataset, value in datasets
    )
    iptc += b"\0" * (len(iptc) % 2)
    block = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(iptc)) + iptc
    buffer = io.BytesIO()
    drawn(0).save(buffer, "JPEG")
    jpeg = buffer.getvalue()
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def test_iptc_keywords_are_read_in_order() -> None:
    data = jpeg_with_iptc((2, 5, b"a title"), (2, 25, b"harbour"), (2, 25, "Möwe".encode()), (2, 25, b" "))

    assert embedded_keywords(data) == ["harbour", "Möwe"]


def test_iptc_of_old_programs_is_read_as_latin_1() -> None:
    assert embedded_keywords(jpeg_with_iptc((2, 25, "Möwe".encode("latin-1")))) == ["Möwe"]


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF"])
def test_xmp_subjects_are_read_each_once(format: str) -> None:
    buffer = io.BytesIO()
    drawn(0).save(buffer, format, **({"tiffinfo": {700: XMP}} if format == "TIFF" else {"xmp": XMP}))

    assert embedded_keywords(buffer.getvalue()) == ["lighthouse", "Île de Ré"]


def test_xmp_in_a_png_is_read() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    buffer = io.BytesIO()
    drawn(0).save(buffer, "PNG", pnginfo=info)

    assert embedded_keywords(buffer.getvalue()) == ["lighthouse", "Île de Ré"]


def png_with_late_xmp(xmp: bytes, compressed: bool = False) -> bytes:
    """As exiftool writes it: behind the pixels, before the end."""
    body = b"XML:com.adobe.xmp\0" + (b"\1\0" if compressed else b"\0\0") + b"en\0\0"
    body += zlib.compress(xmp) if compressed else xmp
    buffer = io.BytesIO()
    drawn(0).save(buffer, "PNG")
    png = buffer.getvalue()
    crc = struct.pack(">I", zlib.crc32(b"iTXt" + body))
    return png[:-12] + struct.pack(">I", len(body)) + b"iTXt" + body + crc + png[-12:]


@pytest.mark.parametrize("compressed", [False, True])
def test_xmp_after_the_pixels_of_a_png_is_read(compressed: bool) -> None:
    assert embedded_keywords(png_with_late_xmp(XMP, compressed)) == ["lighthouse", "Île de Ré"]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_png_that_is_cut_inside_its_late_xmp_gives_no_keywords(compressed: bool) -> None:
    whole = png_with_late_xmp(XMP, compressed)
    for length in range(whole.index(b"iTXt"), len(whole) - 40):
        assert embedded_keywords(whole[:length]) == []


def test_entities_are_not_expanded() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + XMP.replace(b"lighthouse", b"&a;")

    assert xmp_keywords(bomb) == []


@pytest.mark.parametrize(
    "data", [b"", b"<x", XMP[:200], b"\0" * 50, b"<?xml version='1.0' encoding='nope'?><x/>"]
)
def test_damaged_xmp_gives_no_keywords(data: bytes) -> None:
    assert xmp_keywords(data) == []


@given(st.binary(max_size=120))
def test_any_iptc_block_gives_some_keywords_or_none(block: bytes) -> None:
    assert isinstance(embedded_keywords(jpeg_with_iptc((2, 25, b"kept")) + block), list)
    Image.preinit()
    assert isinstance(embedded_keywords(block), list)
