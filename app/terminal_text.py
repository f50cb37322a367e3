"""Text from strangers on a terminal: shown, never obeyed."""

from __future__ import annotations

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
# Marks that change the direction of what follows, so that it reads as something else.
_TURNS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))

_SHOWN = {
    **{code: f"\\x{code:02x}" for code in _CONTROLS},
    **{code: f"\\u{code:04x}" for code in _TURNS},
}


def printable(text: str) -> str:
    """The text with control characters written out: an id or a tag may hold some that a terminal obeys."""
    return text.translate(_SHOWN)
