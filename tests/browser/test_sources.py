"""What must never stand in the page's files, checked without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "app" / "web"
FILES = sorted(path for path in WEB.iterdir() if path.is_file())
PAGES = {"index.html", "jobs.html"}
PARSES_MARKUP = re.compile(r"(inner|outer|insertAdjacent)HTML|document\.write|\beval\(|new Function|srcdoc")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_string_is_ever_parsed_as_markup_or_code(file: Path) -> None:
    assert not PARSES_MARKUP.search(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_is_loaded_from_elsewhere(file: Path) -> None:
    addresses = re.findall(r"https?://[\w][^\s\"'`)]*", file.read_text(encoding="utf-8"))
    assert all(found == "http://www.w3.org/2000/svg" for found in addresses)  # a name, never fetched


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_pages_have_no_inline_script_or_style(name: str) -> None:
    page = (WEB / name).read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))


def test_every_file_that_the_pages_name_is_there() -> None:
    named = set()
    for name in PAGES:
        named |= set(re.findall(r"/static/([\w.-]+)", (WEB / name).read_text(encoding="utf-8")))
    for script in WEB.glob("*.js"):
        named |= set(re.findall(r"from \"\./([\w.-]+)\"", script.read_text(encoding="utf-8")))
    names = {file.name for file in FILES}
    assert named <= names
    assert names - named == PAGES  # and nothing lies about unused
