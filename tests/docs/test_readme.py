"""The README's commands exist, and those that are quick are run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from app.cli import application, run

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "docs/cli.md",
    "docs/deployment.md",
    "docs/files.md",
    "docs/operations.md",
    "docs/tutorial.md",
    "CONTRIBUTING.md",
]
COMMAND = re.compile(r"^imsage (?!\S+ +[A-Z]+$)(.*?)(?:  +.*|\s+#.*)?$", re.MULTILINE)


def commands() -> list[list[str]]:
    """The words of every `imsage …` line in the pages' code blocks, comments left out."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
            found += [shlex.split(match[1]) for match in COMMAND.finditer(block)]
    return found


def test_every_command_line_shown_has_options_that_exist() -> None:
    known = vars(typer.main.get_command(application()))["commands"]

    shown = commands()
    assert len(shown) > 8
    for name, *words in shown:
        command = known[name]
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {flag for parameter in command.params for flag in parameter.opts}
        assert not {word for word in words if re.match(r"--?[a-z]", word)} - options, (name, words)


def test_every_make_target_shown_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    shown = {
        target
        for page in PAGES
        for target in re.findall(r"(?m)(?:^|`)make ([a-z-]+)", (ROOT / page).read_text())
    }

    assert "demo" in shown
    assert not [target for target in shown if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


def test_the_line_shown_in_the_readme_is_one_that_ingest_takes(
    shapes_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = re.search(r'`(\{"image": "a/b.jpg".*?\})`;', (ROOT / "README.md").read_text())
    assert line is not None
    (tmp_path / "a").mkdir()
    first = next((shapes_source.parent / "images").glob("*.png"))
    (tmp_path / "a" / "b.jpg").write_bytes(first.read_bytes())
    (tmp_path / "tags.jsonl").write_text(line[1] + "\n")

    assert run(["ingest", str(tmp_path / "tags.jsonl"), "--data", str(tmp_path / "D")]) == 0
    assert "1 stored" in capsys.readouterr().out


def test_a_csv_and_a_folder_are_ingested_as_the_readme_says(
    shapes_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = next((shapes_source.parent / "images").glob("*.png"))
    folder = tmp_path / "pictures" / "red"
    folder.mkdir(parents=True)
    (folder / "one.png").write_bytes(picture.read_bytes())
    (folder / "one.txt").write_text("circle\n")
    table = tmp_path / "table.csv"
    table.write_text("image,tags\npictures/red/one.png,red|circle\n")

    assert run(["ingest", str(tmp_path / "pictures"), "--data", str(tmp_path / "D1")]) == 0
    assert run(["ingest", str(table), "--data", str(tmp_path / "D2")]) == 0
    assert capsys.readouterr().out.count("1 stored") == 2
