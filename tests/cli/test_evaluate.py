"""`imsage evaluate` prints its tables and writes figures and plots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from app.cli import run
from app.cli.errors import FAILURE
from graph_store.data_dir import DataDir
from tests.chaos.test_live_machine import trained_world
from tests.copies import copy_of


def test_tables_figures_and_plots(
    built_data_dir: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, plots = tmp_path / "deep" / "figures.json", tmp_path / "plots"
    options = ["--quick", "--json", str(figures), "--plots", str(plots)]

    assert run(["evaluate", "--data", str(built_data_dir.root), *options]) == 0

    told = capsys.readouterr().out
    assert "nDCG@5" in told
    assert "default" in told
    parts = json.loads(figures.read_text())["parts"]
    assert {"untagged", "slider", "tags"} <= {part["name"] for part in parts}
    names = {path.name for path in plots.glob("*.png")}
    assert {"slider.png", "training-default.png"} <= names
    for path in plots.glob("*.png"):
        with Image.open(path) as plot:
            assert min(plot.size) > 100


@pytest.mark.parametrize("option", ["--json", "--plots"])
def test_what_cannot_be_written_is_refused_before_anything_is_measured(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("measured first")

    monkeypatch.setattr("gnn.evaluation.evaluate", measured)
    (tmp_path / "file").write_text("kept")

    assert (
        run(["evaluate", "--data", str(tmp_path / "D"), option, str(tmp_path / "file" / "below")]) == FAILURE
    )
    assert "Cannot write" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "kept"


def test_a_run_that_fails_leaves_the_figures_of_before_and_no_empty_file(tmp_path: Path) -> None:
    before, new = tmp_path / "before.json", tmp_path / "new.json"
    before.write_text("{}")

    for figures in (before, new):
        assert run(["evaluate", "--data", str(tmp_path / "D"), "--json", str(figures)]) != 0
    assert before.read_text() == "{}"
    assert not new.exists()


def test_without_a_test_split_it_says_how_to_get_one(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_of(trained_world(shared_dir, "default"), tmp_path / "D")

    assert run(["evaluate", "--data", str(tmp_path / "D")]) == FAILURE
    assert '"split": "test"' in capsys.readouterr().err
