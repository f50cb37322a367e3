"""COCO annotation files: objects with categories, captions, or both."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from app.ingest.items import SourceItem, checked_item, is_text
from graph_store.errors import BadInput
from graph_store.records import Skip

MOST_BYTES = 2**31
"""A document is held whole, at several times its size; the largest of COCO has 0.5e9 bytes, of LVIS 1.2e9."""


class CocoSource:
    """`images` with their `annotations`: the categories of its objects are an image's tags.

    How many objects there are of each goes into the attribute `counts`; captions go into `captions`, and the
    first is the caption. `file_name`, relative to `images_dir` (else to the file's folder), is the id.
    Beside `instances_X.json` a `captions_X.json` is read too, as COCO is published in that pair.
    """

    def __init__(self, path: Path, images_dir: Path | None = None) -> None:
        self._path = path
        self._images_dir = images_dir or path.parent

    @property
    def folder(self) -> Path:
        """The folder of the pictures."""
        return self._images_dir

    def __iter__(self) -> Iterator[SourceItem | Skip]:
        counts, captions, orphans = self._annotations
        for image in self._document["images"]:
            yield self._item(image, counts, captions)
        yield from orphans

    def count(self) -> int:
        """How many images and unusable annotations there are."""
        return len(self._document["images"]) + len(self._annotations[2])

    def _item(
        self, image: Any, counts: dict[Any, Counter[str]], captions: dict[Any, list[str]]
    ) -> SourceItem | Skip:
        source = str(self._path)
        if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
            return Skip(source, None, "an image has no id", str(image)[:80])
        name = image.get("file_name")
        if not isinstance(name, str) or not name or not is_text(name):
            return Skip(source, None, "the image has no file_name", str(image["id"]))
        place = Path(os.path.normpath(self._images_dir / name))
        if not place.is_relative_to(os.path.normpath(self._images_dir)):
            reason = f"its file_name leads out of {self._images_dir}; --images names the folder to read from"
            return Skip(source, None, reason, name[:200])
        objects = counts.get(image["id"], Counter())
        texts = captions.get(image["id"], [])
        attributes: dict[str, Any] = {"coco_id": image["id"]}
        if objects:
            attributes["counts"] = dict(objects)
        if texts:
            attributes["captions"] = texts
        return checked_item(
            source=source,
            line=None,
            image_id=name,
            image=self._images_dir / name,
            tags=list(objects),
            caption=texts[0] if texts else None,
            attributes=attributes,
        )

    @cached_property
    def _document(self) -> dict[str, Any]:
        return _read(self._path)

    @cached_property
    def _annotations(self) -> tuple[dict[Any, Counter[str]], dict[Any, list[str]], list[Skip]]:
        """Object counts by image, captions by image, and the annotations that fit no image."""
        annotations = list(self._document["annotations"])
        kind, _, rest = self._path.name.partition("_")
        pair = self._path.with_name(f"captions_{rest}")
        if kind == "instances" and pair.is_file():
            annotations += _read(pair)["annotations"]
        names = _category_names(self._document)
        images = [image for image in self._document["images"] if isinstance(image, dict)]
        known = {image["id"] for image in images if isinstance(image.get("id"), int | str)}
        counts: dict[Any, Counter[str]] = {}
        captions: dict[Any, list[str]] = {}
        orphans: list[Skip] = []
        for annotation in annotations:
            reason = _place(annotation, known, names, counts, captions)
            if reason:
                shown = annotation.get("id", "") if isinstance(annotation, dict) else annotation
                orphans.append(Skip(str(self._path), None, reason, f"annotation {shown}"[:80]))
        return counts, captions, orphans


def _place(
    annotation: Any,
    known: set[Any],
    names: dict[Any, str],
    counts: dict[Any, Counter[str]],
    captions: dict[Any, list[str]],
) -> str:
    """Count the annotation for its image; returns why it cannot be, or nothing. An object may have a caption
    too.
    """
    if not isinstance(annotation, dict):
        return "the annotation is not an object"
    image, category, caption = (annotation.get(key) for key in ("image_id", "category_id", "caption"))
    if not isinstance(image, int | str) or image not in known:
        return f"the annotation belongs to image {str(image)[:40]!r}, which is not listed"
    if isinstance(caption, str) and is_text(caption):
        if caption.strip():
            captions.setdefault(image, []).append(caption.strip())
        if category is None or not names:
            return ""
    if not isinstance(category, int | str) or category not in names:
        return f"the annotation is of category {str(category)[:40]!r}, which is not listed"
    counts.setdefault(image, Counter())[names[category]] += 1
    return ""


def _category_names(document: dict[str, Any]) -> dict[Any, str]:
    categories = document.get("categories", [])
    if not isinstance(categories, list):
        return {}
    return {
        category["id"]: category["name"]
        for category in categories
        if isinstance(category, dict)
        and isinstance(category.get("id"), int | str)
        and isinstance(category.get("name"), str)
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BadInput(
                f"The file {path} has {size:,} bytes, and at most {MOST_BYTES:,} are read at once",
                hint="Split it, or write its tags as tags.jsonl, which is read line by line.",
            )
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise BadInput(f"The file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"The file {path} is not valid JSON: {error}") from error
    if not isinstance(document, dict) or not all(
        isinstance(document.get(key), list) for key in ("images", "annotations")
    ):
        raise BadInput(f"The file {path} has no lists 'images' and 'annotations' as COCO files do")
    return document
