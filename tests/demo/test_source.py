"""The demo's catalogue on disk: complete, resumable, and not made twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.demo import source as demo_source
from app.demo.drawings import Drawing, all_drawings
from app.demo.source import write_source
from graph_store.progress import SilentProgress


@pytest.fixture
def few_drawings(monkeypatch: pytest.MonkeyPatch) -> list[Drawing]:
    """The first twelve drawings: enough to see every rule, and quick to render."""
    few = all_drawings()[:12]
    monkeypatch.setattr(demo_source, "all_drawings", lambda: few)
    return few


def test_every_line_names_a_picture_that_is_there(tmp_path: Path, few_drawings: list[Drawing]) -> None:
    listing = write_source(tmp_path, SilentProgress())

    rows = [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [drawing.id for drawing in few_drawings]
    for row in rows:
        assert (tmp_path / row["image"]).stat().st_size > 0
        assert "CC BY-SA 4.0" in row["credit"]


def test_a_second_run_touches_nothing(tmp_path: Path, few_drawings: list[Drawing]) -> None:
    listing = write_source(tmp_path, SilentProgress())
    picture = tmp_path / "images" / f"{few_drawings[0].id}.png"
    before = (listing.stat().st_mtime_ns, picture.stat().st_mtime_ns)

    write_source(tmp_path, SilentProgress())

    assert (listing.stat().st_mtime_ns, picture.stat().st_mtime_ns) == before


def test_an_interrupted_run_goes_on_with_what_is_missing(tmp_path: Path, few_drawings: list[Drawing]) -> None:
    write_source(tmp_path, SilentProgress())
    kept, lost = (tmp_path / "images" / f"{drawing.id}.png" for drawing in few_drawings[:2])
    lost.unlink()
    (tmp_path / "tags.jsonl").unlink()
    before = kept.stat().st_mtime_ns

    write_source(tmp_path, SilentProgress())

    assert lost.exists()
    assert kept.stat().st_mtime_ns == before


def test_what_other_packages_have_rendered_is_rendered_again(
    tmp_path: Path, few_drawings: list[Drawing], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(tmp_path, SilentProgress())
    monkeypatch.setattr(demo_source, "version", lambda name: "later")
    monkeypatch.setattr(demo_source, "render", lambda svg: b"drawn anew")

    write_source(tmp_path, SilentProgress())

    pictures = [tmp_path / "images" / f"{drawing.id}.png" for drawing in few_drawings]
    assert {picture.read_bytes() for picture in pictures} == {b"drawn anew"}


def test_an_interrupted_run_does_not_pass_its_pictures_off_as_those_of_later_packages(
    tmp_path: Path, few_drawings: list[Drawing], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> list[Drawing]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo_source, "_row", lambda drawing: interrupted())
        with pytest.raises(KeyboardInterrupt):
            write_source(tmp_path, SilentProgress())
    monkeypatch.setattr(demo_source, "version", lambda name: "later")
    monkeypatch.setattr(demo_source, "render", lambda svg: b"drawn anew")

    write_source(tmp_path, SilentProgress())

    picture = tmp_path / "images" / f"{few_drawings[0].id}.png"
    assert picture.read_bytes() == b"drawn anew"
