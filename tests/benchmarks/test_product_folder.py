"""The benchmark's shop, made of a few icons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.icon_folder import write_icons
from benchmarks.product_folder import COLOURS, GROUPS, HIDDEN, SIZE, icons_by_kind, write_products

ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M4 4h16v16H4z"/></svg>'
ICONS = ("star", "star-box", "star-off", "box-open", "cup", "lamp-off")


@pytest.fixture
def icons(tmp_path: Path) -> Path:
    folder = tmp_path / "icons"
    for name in ICONS:
        file = folder / "material" / f"{name}.svg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(ICON, encoding="utf-8")
    write_icons(folder, tmp_path / "made")
    return folder


def test_an_icon_is_of_the_commonest_kind_that_its_name_has(icons: Path) -> None:
    kinds = icons_by_kind(icons)
    assert sorted(kinds["star"]) == ["material-star", "material-star-box", "material-star-off"]
    assert kinds["box"] == ["material-box-open"]
    assert "off" not in kinds


def test_a_product_is_small_and_has_one_value_of_each_attribute(icons: Path, tmp_path: Path) -> None:
    listing = write_products(icons, tmp_path / "made" / "pictures", tmp_path / "shop", products=20)
    for line in listing.read_text().splitlines():
        row = json.loads(line)
        for values in (icons_by_kind(icons), GROUPS, COLOURS, *HIDDEN.values()):
            assert len(set(row["tags"]) & set(values)) == 1
        with Image.open(listing.parent / row["image"]) as picture:
            assert picture.size == SIZE


def test_the_same_seed_gives_the_same_products(icons: Path, tmp_path: Path) -> None:
    first, second = (
        write_products(icons, tmp_path / "made" / "pictures", tmp_path / name, products=8)
        for name in ("first", "second")
    )
    assert first.read_text() == second.read_text()
    for name in ("00000", "00007"):
        pictures = [(each.parent / "pictures" / f"{name}.png").read_bytes() for each in (first, second)]
        assert pictures[0] == pictures[1]
