"""A run of the quality benchmark goes on where it was, and never beside figures of other code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import quality
from benchmarks.quality import Bench
from benchmarks.scale import __main__ as scale
from graph_store.progress import SilentProgress


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Bench, list[str]]]:
    """A bench of two steps, and the names of those that were measured."""
    measured: list[str] = []

    def step(name: str) -> tuple[str, quality.Step]:
        return name, lambda: measured.append(name) or {"figure": name}  # type: ignore[func-returns-value]

    monkeypatch.setattr(Bench, "_steps", lambda self: iter([step("about"), step("photos-0")]))
    monkeypatch.setattr(quality, "code_state", lambda: "first")
    yield Bench(tmp_path / "tags.jsonl", None, None, None, tmp_path, 1, False, SilentProgress()), measured


def test_an_interrupted_run_goes_on(bench: tuple[Bench, list[str]]) -> None:
    run, measured = bench
    assert not run.run(one_step=True)
    assert run.run(one_step=True)
    assert run.run()
    assert measured == ["about", "photos-0"]


def test_figures_of_another_commit_are_measured_again_and_that_is_said(
    bench: tuple[Bench, list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, measured = bench
    run.run()
    stale = run.out / "photos-1.json"
    stale.write_text((run.out / "photos-0.json").read_text())
    monkeypatch.setattr(quality, "code_state", lambda: "second")
    assert not run.run(one_step=True)
    assert "photos-0 is of first: measured again." in capsys.readouterr().err
    assert not stale.exists()
    assert run.run()
    assert measured == ["about", "photos-0"] * 2
    assert {json.loads(path.read_text())["made"]["commit"] for path in run.out.glob("*.json")} == {"second"}


def test_figures_of_other_options_are_measured_again(
    bench: tuple[Bench, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, measured = bench
    run.run()
    Bench(run.source, None, None, None, run.out, 1, True, run.progress).run()
    assert "photos-0 is of other options: measured again." in capsys.readouterr().err
    assert measured == ["about", "photos-0"] * 2


def test_the_scale_benchmark_keeps_figures_of_the_same_code_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[str] = []
    monkeypatch.setattr(scale, "STEPS", {"generate": None, "train": None})
    monkeypatch.setattr(
        scale, "measured", lambda step, data, images: measured.append(step) or {"s": len(measured)}
    )
    (tmp_path / "7.json").write_text('{"train": {"s": 0}}')  # as an earlier version kept them
    found = []
    for code in ("first", "first", "second"):
        monkeypatch.setattr(scale, "code_state", lambda code=code: code)
        found.append(scale.measure(7, tmp_path)["train"]["s"])
    assert found == [2, 2, 4]
    assert capsys.readouterr().err.count("all are measured again") == 2
