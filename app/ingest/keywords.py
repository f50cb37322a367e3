"""Keywords that people and programs write into picture files: IPTC and XMP."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import ParseError

from app.images import FORMATS

_IPTC_KEYWORDS = (2, 25)
"""Record 2, dataset 25 of the IPTC information interchange model, one keyword each."""
_IPTC_CHARSET = (1, 90)
_UTF8_ESCAPE = b"\x1b%G"
_SUBJECT = "{http://purl.org/dc/elements/1.1/}subject"
_ITEM = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li"
_MOST_XMP_BYTES = 4 * 2**20


def embedded_keywords(data: bytes) -> list[str]:
    """The keywords of IPTC (2:25) and XMP (dc:subject) inside an image file, in order, each once.

    Damaged metadata gives the keywords that could be read: the picture counts, not its label. Nothing is
    decoded.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            found = [*_iptc(image), *_xmp(image)]
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
