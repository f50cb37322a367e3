"""What a source yields, whatever its form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from graph_store.errors import BadInput
from graph_store.records import Skip, Split, Tag, weight_fault
from graph_store.tag_names import normalise_tag

_LONGEST_ID = 2000
_ADDRESS = re.compile("(https?|ftp|s3|gs)://", re.I)
IS_ADDRESS = "the image is an address, and nothing is fetched; download it first and name the file"


@dataclass(frozen=True)
class SourceItem:
    """One image as a source describes it, before its file is opened.

    `image` is None only where a source brings features instead. `line` is its 1-based line in `source`.
    `dropped` names tags of it that cannot be stored. With `embedded_keywords`, keywords inside the file
    become tags too.
    """

    id: str
    image: Path | None
    source: str
    line: int | None = None
    tags: tuple[Tag, ...] = ()
    split: Split = "train"
    caption: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    dropped: tuple[Skip, ...] = ()
    embedded_keywords: bool = False


class ImageSource(Protocol):
    """Yields each image or, for what cannot be one, a Skip; never raises because of one bad row."""

    @property
    def folder(self) -> Path:
        """Where its pictures lie, as far as they are named by relative paths."""

    def __iter__(self) -> Iterator[SourceItem | Skip]:
        """Items in an order that is the same each time."""

    def count(self) -> int | None:
        """About how many there are, for the progress bar; None when that cannot be said cheaply."""


def checked_item(
    *,
    source: str,
    line: int | None,
    image_id: Any,
    image: Path | None,
    tags: Any = None,
    split: Any = None,
    caption: Any = None,
    attributes: dict[str, Any] | None = None,
) -> SourceItem | Skip:
    """A SourceItem out of values as they were parsed, or a Skip that says what is wrong with them.

    `tags` is a list of names or of {"name", "weight"}. A name that is too long or empty costs the image that
    tag and nothing more.
    """
    shown = str(image_id)[:200] if image_id is not None else str(image or "")[:200]
    try:
        kept, dropped = checked_tags(tags, source=source, line=line, item=shown)
        return SourceItem(
            id=_checked_id(image_id),
            image=image,
            source=source,
            line=line,
            tags=kept,
            split=_checked_split(split),
            caption=_checked_caption(caption),
            attributes=attributes or {},
            dropped=dropped,
        )
    except BadInput as error:
        return Skip(source, line, error.message, shown)


def is_address(image: str) -> bool:
    """Whether a source gives an address in place of a path; then IS_ADDRESS says why that is none."""
    return _ADDRESS.match(image) is not None


def checked_tags(
    tags: Any, *, source: str, line: int | None, item: str
) -> tuple[tuple[Tag, ...], tuple[Skip, ...]]:
    """The usable tags, and a note for each that is not. Raises BadInput when it is no list of tags at all."""
    if tags is None:
        return (), ()
    if not isinstance(tags, list):
        raise BadInput(f"the tags are {_kind(tags)}, not a list")
    kept: list[Tag] = []
    dropped: list[Skip] = []
    for tag in tags:
        name, weight = _name_and_weight(tag)
        try:
            if not is_text(name):
                raise BadInput("it is not valid Unicode, or holds a NUL character")
            kept.append(Tag(normalise_tag(name), weight))
        except BadInput as error:
            dropped.append(Skip(source, line, f"a tag was left out: {error.message}", item))
    return tuple(kept), tuple(dropped)


def _name_and_weight(tag: Any) -> tuple[str, float]:
    if isinstance(tag, str):
        return tag, 1.0
    if not isinstance(tag, dict) or not isinstance(tag.get("name"), str) or set(tag) - {"name", "weight"}:
        raise BadInput('a tag is neither a string nor {"name", "weight"}')
    weight = tag.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise BadInput(f"the weight of tag {tag['name'][:50]!r} is {_kind(weight)}, not a number")
    if fault := weight_fault(weight):
        raise BadInput(f"the weight of tag {tag['name'][:50]!r} is {weight}, which {fault}")
    return tag["name"], float(weight)


def _checked_id(image_id: Any) -> str:
    if isinstance(image_id, int) and not isinstance(image_id, bool):
        return str(image_id)
    if not isinstance(image_id, str) or not image_id.strip():
        raise BadInput("the id is empty" if isinstance(image_id, str) else f"the id is {_kind(image_id)}")
    if len(image_id) > _LONGEST_ID:
        raise BadInput(f"the id has {len(image_id)} characters; {_LONGEST_ID} are allowed")
    if not is_text(image_id):
        raise BadInput("the id is not valid Unicode, or holds a NUL character")
    return image_id


def _checked_split(split: Any) -> Split:
    if split is None or split == "" or split == "train":
        return "train"
    if split == "test":
        return "test"
    raise BadInput(f"the split is {str(split)[:50]!r}; it must be 'train' or 'test'")


def _checked_caption(caption: Any) -> str | None:
    if caption is None or caption == "":
        return None
    if not isinstance(caption, str):
        raise BadInput(f"the caption is {_kind(caption)}, not a string")
    if not is_text(caption):
        raise BadInput("the caption is not valid Unicode, or holds a NUL character")
    return caption


def is_text(value: str) -> bool:
    """Whether a string can be stored: no half of a surrogate pair and no NUL."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "missing"}
    return names.get(type(value), "a number")
