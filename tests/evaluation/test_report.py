"""The report as JSON, as a table and as pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from gnn.evaluation.intervals import Interval
from gnn.evaluation.plots import write_plots
from gnn.evaluation.report import EvaluationReport
from gnn.evaluation.results import Part, Row
from gnn.evaluation.tuning import Choice
from graph_store.errors import CorruptFile

NAN = float("nan")


def make_report() -> EvaluationReport:
    weak = {"F1": Interval(0.25, 0.2, 0.3, 9), "N+": Interval(3.0, NAN, NAN, 4)}
    strong = {"F1": Interval(0.5, 0.4, 0.6, 9), "ECE": Interval(NAN, NAN, NAN, 0)}
    curve = {"v": [0.0, 1.0], "nDCG@10": [0.6, NAN], "raw cosine": [0.2, 0.5]}
    return EvaluationReport(
        seed=1,
        quick=False,
        about={"queries": 9},
        parts=(
            Part("slider", "Slider", series={"default": curve}),
            Part(
                "tags",
                "Tags of $9",
                (Row("default", "preset", strong), Row("MLP", "baseline", weak)),
                series={
                    "tag": ["a", "price $5", "猫"],
                    "F1": {"default": [0.5, NAN, 1.0], "MLP": [0.4, 0.2, 1.0]},
                },
            ),
            Part("grades", "Grades", not_applicable="no image has counts"),
        ),
        choices=(Choice("MLP", {"hidden": 512}, NAN),),
        map={
            "title": "Map",
            "images": [[0.0, 1.0], [1.0, 0.0]],
            "colours": [0, -1],
            "tags": [[0.5, 0.5]],
            "names": ["$ign"],
        },
    )


def test_json_has_no_nan_and_says_what_does_not_apply() -> None:
    values = json.loads(json.dumps(make_report().to_json(), allow_nan=False))
    slider, tags, grades = values["parts"]
    assert slider["series"]["default"]["nDCG@10"] == [0.6, None]
    assert tags["rows"][0]["figures"]["F1"] == {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9}
    assert tags["rows"][0]["figures"]["ECE"]["value"] is None
    assert grades["not_applicable"] == "no image has counts"
    assert values["baseline_settings"][0]["validation_ndcg@5"] is None


def test_the_table_shows_baselines_first_with_intervals_and_reasons() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(make_report().table())
    text = console.export_text()
    assert text.index("MLP") < text.index("default")
    assert "0.400-0.600" in text
    assert "3/4" in text
    assert "no image has counts" in text


def test_the_part_of_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        make_report().part("nothing")


def test_every_picture_is_written_and_names_that_fonts_lack_do_no_harm(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text(
        '{"epoch": 1, "loss": 2.0, "ndcg": 0.1, "tried": {"x": 1}}\n{"epoch": 2, "loss": 1.0, "ndcg": 0.2}\n'
    )
    found = write_plots(
        make_report(), tmp_path / "plots", {"default": history, "paper": tmp_path / "none.jsonl"}
    )
    assert [path.name for path in found] == [
        "slider.png",
        "tag-gains-default.png",
        "map.png",
        "training-default.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)


def test_a_broken_history_is_refused_by_name(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text("{not json\n")
    with pytest.raises(CorruptFile, match=r"history\.jsonl"):
        write_plots(make_report(), tmp_path, {"default": history})
