"""Every command of the tutorial and of the README's own catalogue is run, in a folder like the reader's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.walking import draw_pictures, steps_of, take


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


def test_the_readme_does_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "SOURCE").symlink_to(folder / "pictures")
    (folder / "photo.jpg").symlink_to(folder / "pictures" / "beach" / "0001.jpg")

    assert take(steps_of("README.md", "## Your own catalogue")) == 3
    assert "Indexed: snapshot" in capsys.readouterr().out
    assert (folder / "sheet.png").is_file()
