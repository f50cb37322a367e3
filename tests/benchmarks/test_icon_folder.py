"""The benchmark's catalogue of icons, made of a few."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.icon_folder import icons_in, write_icons

ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M4 4h16v16H4z"/></svg>'
ICONS = (
    "logo",
    "simple/acme",
    "fontawesome/brands/acme",
    "fontawesome/solid/star",
    "material/star-outline",
    "material/star-box-outline",
    "material/numeric-3",
    "octicons/star-16",
    "octicons/star-fill-24",
)


@pytest.fixture
def icons(tmp_path: Path) -> Path:
    for name in ICONS:
        file = tmp_path / "icons" / f"{name}.svg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(ICON, encoding="utf-8")
    return tmp_path / "icons"


def test_icons_are_tagged_by_the_words_of_their_names_and_companies_left_out(icons: Path) -> None:
    assert [(name, words) for _, name, words in icons_in(icons)] == [
        ("fontawesome-star", ["star"]),
        ("material-numeric-3", ["numeric"]),
        ("material-star-box-outline", ["box", "outline", "star"]),
        ("material-star-outline", ["outline", "star"]),
        ("octicons-star-fill-24", ["fill", "star"]),
    ]


def test_they_are_rendered_and_listed_with_the_tags_that_several_have(icons: Path, tmp_path: Path) -> None:
    listed = [json.loads(line) for line in write_icons(icons, tmp_path).read_text().splitlines()]
    assert [row["tags"] for row in listed] == [["star"], [], ["star"], ["star"], ["star"]]
    for row in listed:
        with Image.open(tmp_path / row["image"]) as picture:
            assert picture.size == (224, 224) and picture.getpixel((112, 112)) != picture.getpixel((2, 2))
