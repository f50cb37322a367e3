"""What continuous integration runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_it_says_to_the_tests_that_it_is_continuous_integration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests of the browser are skipped where there is none, but not there: see tests/browser/conftest.py.
    monkeypatch.delenv("CI", raising=False)
    for program, does in (("chromium", ":"), ("make", 'echo "make $* with CI=$CI"')):
        stand_in = tmp_path / program
        stand_in.write_text(f"#!/bin/sh\n{does}\n")
        stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ran = subprocess.run([ROOT / ".ci" / "run"], capture_output=True, text=True, check=True)
    assert ran.stdout == "make test with CI=true\n"
