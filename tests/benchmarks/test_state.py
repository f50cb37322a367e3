"""The state of the code that a figure is of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import state
from benchmarks.state import code_state


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One commit of one file."""
    monkeypatch.setattr(state, "_ROOT", tmp_path)
    (tmp_path / "kept.py").write_text("one = 1\n")
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "someone")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "someone@example.org")
    commit = ("commit", "--quiet", "--no-gpg-sign", "-m", "first")
    for asked in (("init", "--quiet"), ("add", "kept.py"), commit):
        subprocess.run(["git", *asked], cwd=tmp_path, check=True)
    return tmp_path


def test_unchanged_code_is_its_commit(repository: Path) -> None:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, cwd=repository, check=True, capture_output=True, text=True).stdout
    assert code_state() == commit.strip()


@pytest.mark.parametrize("name", ["kept.py", "not added.py"])
def test_code_that_is_changed_again_is_in_another_state(repository: Path, name: str) -> None:
    states = {code_state()}
    for content in ("two = 2\n", "three = 3\n"):
        (repository / name).write_text(content)
        states.add(code_state())
    assert len(states) == 3


def test_a_page_is_no_code(repository: Path) -> None:
    before = code_state()
    (repository / "page.md").write_text("figures")
    assert code_state() == before
