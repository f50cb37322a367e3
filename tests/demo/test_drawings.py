"""The demo's drawings: enough of them, each with words, and none a twin of another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from app.demo.drawings import Drawing, all_drawings, tags_of
from app.demo.source import SIDE, render


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    return all_drawings()


def test_there_are_about_1900_drawings_with_ids_of_their_own(drawings: list[Drawing]) -> None:
    assert 1850 <= len(drawings) <= 2000
    assert len({drawing.id for drawing in drawings}) == len(drawings)


def test_no_drawing_is_a_skin_tone_twin(drawings: list[Drawing]) -> None:
    tones = {chr(code) for code in range(0x1F3FB, 0x1F400)}

    assert not [drawing.id for drawing in drawings if tones & set(drawing.emoji)]


def test_every_drawing_has_a_group_a_keyword_and_a_file(drawings: list[Drawing]) -> None:
    for drawing in drawings:
        assert drawing.tags[-1] == drawing.group
        assert len(drawing.tags) >= 2
        assert len({tag.lower() for tag in drawing.tags}) == len(drawing.tags)
        assert drawing.svg.is_file()


def test_about_a_fifth_is_held_out_in_every_group(drawings: list[Drawing]) -> None:
    sizes = Counter(drawing.group for drawing in drawings)
    held_out = Counter(drawing.group for drawing in drawings if drawing.split == "test")

    for group, size in sizes.items():
        if size >= 80:
            assert 0.12 <= held_out[group] / size <= 0.32


def test_the_pumpkin_lantern_is_tagged_as_a_person_would(drawings: list[Drawing]) -> None:
    lantern = next(drawing for drawing in drawings if drawing.emoji == "🎃")

    assert lantern.id == "jack-o-lantern"
    assert {"halloween", "lantern", "celebration", "activities"} <= set(lantern.tags)


@pytest.mark.parametrize(
    ("name", "keywords", "tags"),
    [
        ("cat face", ["cat", "face", "pet"], ("cat", "face", "pet")),
        ("gorilla", ["gorilla"], ("gorilla",)),
        ("sleepy face", ["face", "sleep", "sleepy face"], ("face", "sleep")),
        ("flag: Peru", [], ("flag", "Peru")),
        ("woman standing", [], ("woman standing", "woman")),
        ("ATM sign", ["atm", "ATM sign", "ATM"], ("atm",)),
        ("button", ["“service charge”"], ("service charge",)),
    ],
)
def test_keywords_become_tags(name: str, keywords: list[str], tags: tuple[str, ...]) -> None:
    assert tags_of(name, keywords) == tags


def test_a_drawing_is_rendered_square_on_white(drawings: list[Drawing], tmp_path: Path) -> None:
    lantern = next(drawing for drawing in drawings if drawing.emoji == "🎃")
    file = tmp_path / "lantern.png"
    file.write_bytes(render(lantern.svg))

    with Image.open(file) as image:
        pixels = image.convert("RGB")
    assert pixels.size == (SIDE, SIDE)
    assert pixels.getpixel((0, 0)) == (255, 255, 255)
    colours = pixels.getcolors(SIDE * SIDE)
    assert colours is not None and len(colours) > 10
