"""imsage starts itself again, and nobody else, wherever it is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.cli import run
from app.own_process import command, environment


@pytest.fixture
def their_folder(tmp_path: Path) -> Path:
    """A working directory with a package of our name."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "app" / "__main__.py").write_text("print('a shop')")
    return tmp_path


def test_a_package_of_our_name_in_the_working_directory_is_not_started(their_folder: Path) -> None:
    told = subprocess.run(
        command("app", "--version"), env=environment(), cwd=their_folder, capture_output=True, text=True
    )

    assert told.stdout.startswith("imsage ")


def test_the_paths_of_whoever_starts_it_are_kept_behind_ours() -> None:
    code = str(Path(__file__).parents[2])

    assert environment({"PYTHONPATH": "/theirs", "A": "b"}) == {"PYTHONPATH": f"{code}:/theirs", "A": "b"}
    assert environment({}) == {"PYTHONPATH": code}


def test_the_demo_goes_on_as_a_server_of_this_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr("app.demo.build.build_demo", lambda *_: None)
    monkeypatch.setattr("os.execve", lambda *asked: started.extend(asked))

    assert run(["demo", "--data", str(tmp_path), "--port", "1234"]) == 0

    expected = command("app", "serve", "--data", str(tmp_path), "--port", "1234")
    assert started[:2] == [sys.executable, expected] and started[2] == environment()
