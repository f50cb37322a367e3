"""Pictures inside a terminal, for those terminals that say who they are.

Two protocols can be told from the environment without asking the terminal anything: kitty's
(https://sw.kovidgoyal.net/kitty/graphics-protocol/) and iTerm2's
(https://iterm2.com/documentation-images.html). Sixel cannot: it takes a question to the terminal, and a wait
for an answer that may never come.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Mapping

_CHUNK = 4096  # kitty takes no longer piece of base64 at once


class Protocol(enum.Enum):
    """How a terminal wants its pictures."""

    KITTY = "kitty"
    ITERM2 = "iterm2"


class When(enum.StrEnum):
    """When pictures are written: where they can be seen, in any case, or not at all."""

    auto = "auto"
    always = "always"
    never = "never"


def protocol_for(when: When, environment: Mapping[str, str], is_terminal: bool) -> Protocol | None:
    """The protocol to write pictures in, None for no pictures.

    `always` also writes them into pipes and unknown terminals, then in kitty's way, which others have taken
    up.
    """
    known = _named_by(environment)
    if when is When.never:
        return None
    if when is When.always:
        return known or Protocol.KITTY
    return known if is_terminal else None


def _named_by(environment: Mapping[str, str]) -> Protocol | None:
    term = environment.get("TERM", "")
    if environment.get("TMUX") or term.startswith(("screen", "tmux")):
        # A multiplexer inherits the variables of the terminal around it, and drops the pictures.
        return None
    program = environment.get("TERM_PROGRAM", "")
    if environment.get("KITTY_WINDOW_ID") or term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return Protocol.KITTY
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return Protocol.ITERM2
    return None


def picture_text(png: bytes, protocol: Protocol, columns: int, rows: int) -> str:
    """What to write so that a PNG file covers so many columns and rows of characters, and a line end."""
    text = base64.standard_b64encode(png).decode("ascii")
    if protocol is Protocol.ITERM2:
        size = f"size={len(png)};width={columns};height={rows};preserveAspectRatio=1"
        return f"\033]1337;File=inline=1;{size}:{text}\a\n"
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    # a=T: show at once. f=100: PNG. q=2: no answer, which would be read as typed by the user.
    controls = [f"a=T,f=100,q=2,c={columns},r={rows},"] + [""] * (len(chunks) - 1)
    more = [1] * (len(chunks) - 1) + [0]
    pieces = zip(controls, more, chunks, strict=True)
    return "".join(f"\033_G{control}m={m};{chunk}\033\\" for control, m, chunk in pieces) + "\n"
