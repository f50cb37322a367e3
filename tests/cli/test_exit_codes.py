"""What a command says and exits with: one clear line, and a code that scripts can rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import run
from app.cli.errors import FAILURE, INTERRUPTED, USAGE, exit_code_of
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, UnknownName


def raising(error: BaseException) -> int:
    def command() -> None:
        raise error

    return exit_code_of(command)


def test_a_failure_is_one_line_with_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(BadInput("The file is empty", hint="Give another.")) == FAILURE
    assert capsys.readouterr().err == "imsage: The file is empty. Give another.\n"


def test_an_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(UnknownName("There is no preset 'x'", hint="Known: default.")) == USAGE
    assert capsys.readouterr().err.count("\n") == 1


def test_a_fault_of_ours_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(RuntimeError("several\nlines")) == FAILURE

    told = capsys.readouterr().err
    assert told.startswith("imsage: RuntimeError: several lines")
    assert "IMSAGE_DEBUG=1" in told
    assert told.count("\n") == 1


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMSAGE_DEBUG", "1")

    assert raising(BadInput("The file is empty")) == FAILURE
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("build", "goes on from there"),
        ("train", "--resume"),
        ("evaluate", "begins anew"),
        ("reindex", "begins anew"),
        ("search", "interrupted\n"),
    ],
)
def test_an_interruption_says_what_it_leaves_behind(
    name: str, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise KeyboardInterrupt

    assert exit_code_of(command, name) == INTERRUPTED
    assert left in capsys.readouterr().err


def test_a_server_that_cannot_start_is_a_failure() -> None:
    assert raising(SystemExit(3)) == FAILURE


def test_help_names_every_command_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0

    told = capsys.readouterr().out
    building = ["demo", "ingest", "train", "reindex", "build"]
    using = ["evaluate", "search", "serve", "info", "verify", "export", "import"]
    assert not [command for command in building + using if f" {command} " not in told]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["ingest"],
        ["ingest", "/does/not/exist"],
        ["train", "--epochs", "0"],
        ["train", "--epochs", "many"],
        ["ingest", ".", "--images", "."],
        ["build", ".", "--preset", "nope"],
        ["build", ".", "--option", "nope=1"],
        ["build", ".", "--option", "related"],
        ["reindex", "--engine", "other"],
        ["search"],
        ["search", "--tag", "dog", "--visual-weight", "1.5"],
        ["search", "--tag", "dog", "--visual-weight", "nan"],
        ["search", "--tag", "dog", "--stops", "0,x"],
        ["search", "--tag", "dog:0"],
        ["search", "--tag", ":2"],
        ["search", "--text", "   "],
        ["search", "--tag", "dog", "-k", "0"],
        ["serve", "--port", "99999"],
        ["serve", "--set", "nosuch=1"],
        ["serve", "--set", "port=abc"],
        ["keys", "create", "no name"],
        ["import", "/does/not/exist"],
    ],
    ids=" ".join,
)
def test_wrong_options_are_usage_errors(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run(arguments) == USAGE
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["nope", "nope+related=0"])
def test_a_reindex_with_a_preset_that_there_is_not_is_a_usage_error_that_lists_the_known(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DataDir(tmp_path).create()

    assert run(["reindex", "--preset", preset, "--data", str(tmp_path)]) == USAGE

    told = capsys.readouterr().err
    assert "There is no preset 'nope'. Known: default" in told and "imsage train" not in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["reindex"],
        ["evaluate"],
        ["info"],
        ["verify"],
        ["export", "x.tar"],
        ["search", "--tag", "dog"],
        ["serve"],
    ],
    ids=" ".join,
)
def test_a_data_directory_that_is_not_there_is_a_failure_in_one_line(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run([*arguments, "--data", "nowhere"]) == FAILURE

    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("imsage: ")
    assert "fault in imsage" not in last


def test_help_and_usage_errors_import_nothing_heavy() -> None:
    script = (
        "import sys; from app.cli import run\n"
        "run(['--help']); run(['search']); run(['train', '--epochs', '0'])\n"
        "heavy = {'torch', 'faiss', 'onnxruntime', 'matplotlib', 'fastapi', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
