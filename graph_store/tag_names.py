"""One spelling rule for tags, applied wherever a tag enters."""

from __future__ import annotations

import unicodedata

from graph_store.errors import BadInput

MAX_TAG_LENGTH = 300
"""In characters, after normalisation."""


def normalise_tag(name: str) -> str:
    """NFC, trimmed, inner white space collapsed to single spaces; case is kept.

    Raises BadInput when nothing is left, when it is longer than 300 characters, or when it is not valid
    Unicode.
    """
    text = " ".join(unicodedata.normalize("NFC", name).split())
    if not text:
        raise BadInput("A tag is empty")
    if len(text) > MAX_TAG_LENGTH:
        raise BadInput(f"The tag {text[:30]!r}… has {len(text)} characters; {MAX_TAG_LENGTH} are allowed")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"The tag {text[:30]!r} is not valid Unicode") from error
    return text


def tag_key(name: str) -> str:
    """What two spellings of one tag have in common: their case-folded normal form."""
    return unicodedata.normalize("NFC", normalise_tag(name).casefold())
