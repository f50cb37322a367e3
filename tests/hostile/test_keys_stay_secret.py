"""A key that comes in the wrong place is in no log, no problem and no metric, and no command takes one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import typer

from app.cli import application
from app.keys import create_key, without_keys
from graph_store.data_dir import DataDir

ROOT = Path(__file__).parents[2]


def test_a_key_is_in_no_log_and_in_no_answer_wherever_it_was_put(built_copy: DataDir) -> None:
    key = create_key(built_copy, "importer", "write")
    command = [sys.executable, "-m", "tests.hostile.leaky_requests", str(built_copy.root), key]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("\n") >= 32
    assert ran.stderr.count("unexpected_error") == 2 and ran.stderr.count('"path":"/v1/index"') >= 5
    secret = key.removeprefix("imsage_")
    for told in (ran.stdout, ran.stderr):
        lines = [line for line in told.splitlines() if secret in line]
        assert lines == []


def test_what_looks_like_a_key_is_blacked_out_and_nothing_else() -> None:
    key = "imsage_" + "aB3-_" * 8 + "xyz"
    assert without_keys(f"GET /{key}?a HTTP".encode()) == b"GET /imsage_***?a HTTP"
    assert without_keys(b"imsage_index_images 4") == b"imsage_index_images 4"


def test_no_command_takes_a_key_as_an_argument() -> None:
    """It would stand in the list of processes, for everybody on the machine."""

    def parameters(command: object) -> list[str]:
        own = [name for each in getattr(command, "params", []) for name in each.opts]
        for part in getattr(command, "commands", {}).values():
            own += parameters(part)
        return own

    told = parameters(typer.main.get_command(application()))
    assert "--data" in told
    assert [name for name in told if "key" in name.lower() or "token" in name.lower()] == []
