"""`imsage evaluate` prints its tables and writes figures and plots."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from app.cli import run
from app.cli.errors import FAILURE
from graph_store.data_dir import DataDir


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


def test_without_a_test_split_it_says_how_to_get_one(
    shapes_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in shapes_source.read_text().splitlines()[:30]]
    for row in rows:
        row |= {"split": "train", "image": str(shapes_source.parent / row["image"])}
    source = tmp_path / "tags.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = str(tmp_path / "D")

    assert run(["build", str(source), "--data", data, "--epochs", "1"]) == 0
    assert run(["evaluate", "--data", data]) == FAILURE
    assert '"split": "test"' in capsys.readouterr().err
