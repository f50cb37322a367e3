"""Every command of the tutorial and of the README's own catalogue is run, in a folder like the reader's."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import run
from tests.docs.walking import ROOT, draw_pictures, steps_of, take
from tests.shapes import all_shapes, draw


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `pictures/` in it."""
    draw_pictures(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tutorial_does_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert take(steps_of("docs/tutorial.md")) == 13

    told = capsys.readouterr().out
    assert "37 seen = 36 stored + 0 unchanged + 1 skipped" in told and "broken.jpg" in told
    assert "37 seen = 0 stored + 36 unchanged + 1 skipped" in told
    assert "% dog" in told
    assert (folder / "sheet.png").is_file() and (folder / "my-data.tar").is_file()


def test_pictures_without_any_tag_are_not_built_as_the_tutorial_warns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warned = " ".join((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").split())
    assert "at least one picture must have a tag" in warned

    (tmp_path / "flat").mkdir()
    draw(all_shapes()[0]).save(tmp_path / "flat" / "1.jpg")
    assert run(["build", str(tmp_path / "flat"), "--data", str(tmp_path / "data")]) == 1
    assert "has a tag" in capsys.readouterr().err


def test_the_readme_does_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "SOURCE").symlink_to(folder / "pictures")
    (folder / "photo.jpg").symlink_to(folder / "pictures" / "beach" / "0001.jpg")

    assert take(steps_of("README.md", "## Your own catalogue")) == 3
    assert "Indexed: snapshot" in capsys.readouterr().out
    assert (folder / "sheet.png").is_file()
