"""Keywords that people and programs write into picture files: IPTC and XMP."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree.ElementTree import ParseError

from app.image_headers import is_icon
from app.images import FORMATS

_IPTC_KEYWORDS = (2, 25)
"""Record 2, dataset 25 of the IPTC information interchange model, one keyword each."""
_IPTC_CHARSET = (1, 90)
_UTF8_ESCAPE = b"\x1b%G"
_SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"
_ITEM = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
_MOST_XMP_BYTES = 4 * 2**20
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_XMP = b"XML:com.adobe.xmp\0"


def embedded_keywords(data: bytes) -> list[str]:
    """The keywords of IPTC (2:25) and XMP (dc:subject) inside an image file, in order, each once.

    Damaged metadata gives the keywords that could be read: the picture counts, not its label. Nothing is
    decoded.
    """
    from PIL import Image

    if is_icon(data):
        return []  # It has no place for them.
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            found = [*_iptc(image), *(_xmp(image) or _late_xmp(data))]
    except Exception:  # the decoder reports what is wrong with the file; hostile bytes may raise anything
        return []
    return list(dict.fromkeys(keyword.strip() for keyword in found if keyword.strip()))


def _iptc(image: Any) -> list[str]:
    from PIL import IptcImagePlugin

    try:
        blocks = IptcImagePlugin.getiptcinfo(image) or {}
    except Exception:  # see embedded_keywords
        return []
    values = blocks.get(_IPTC_KEYWORDS, [])
    utf8 = blocks.get(_IPTC_CHARSET) == _UTF8_ESCAPE
    return [_text(value, utf8) for value in _as_list(values)]


def _text(value: bytes, utf8: bool) -> str:
    """IPTC text is UTF-8 where it says so, and usually also where it does not; else Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("utf-8" if utf8 else "latin-1", errors="replace")


def _as_list(values: bytes | list[bytes]) -> Iterable[bytes]:
    return values if isinstance(values, list) else [values]


def _xmp(image: Any) -> list[str]:
    raw = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    data = raw.encode() if isinstance(raw, str) else bytes(raw)
    return xmp_keywords(data)


def _late_xmp(data: bytes) -> list[str]:
    """XMP that stands after the pixels of a PNG, where exiftool puts it. Pillow would have to decode them
    for it, which is done elsewhere already.
    """
    for kind, body in _png_chunks(data):
        if kind == b"iTXt" and body[: len(_PNG_XMP)] == _PNG_XMP:
            # Then whether and how it is compressed, a byte each, and its language and name up to a zero each.
            rest = bytes(body[len(_PNG_XMP) :])
            text = rest[2:].split(b"\0", 2)[-1]
            return xmp_keywords(_unpacked(text) if rest.startswith(b"\1") else text)
    return []


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, _MOST_XMP_BYTES + 1)
    except zlib.error:
        return b""


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and contents of each chunk of a PNG; nothing of another file."""
    start, view = len(_PNG), memoryview(data)
    while data.startswith(_PNG) and start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        yield kind, view[start + 8 : start + 8 + length]
        start += length + 12


def xmp_keywords(data: bytes) -> list[str]:
    """The items of dc:subject in an XMP packet; none from one with a DTD, which only an attack would have."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if not data or len(data) > _MOST_XMP_BYTES:
        return []
    try:
        root = fromstring(data.strip(b"\x00 \r\n\t"), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return []
    # Only where they belong, subject > bag > item: to search below each subject takes the square of the time
    # where thousands stand inside one another.
    lists = (held for subject in root.iter(_SUBJECT) for held in subject)
    return [(item.text or "").strip() for held in lists for item in held.findall(_ITEM)]
