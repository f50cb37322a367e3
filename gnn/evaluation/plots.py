"""The report as pictures, drawn without a display and without matplotlib's global state."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gnn.curves import plot_curves
from gnn.evaluation.report import EvaluationReport
from graph_store.arrays import Float32Array
from graph_store.durable import write_bytes
from graph_store.errors import CorruptFile

SHOWN_TAGS = 40


def write_plots(
    report: EvaluationReport, directory: Path, histories: Mapping[str, Path] | None = None
) -> list[Path]:
    """All pictures that the report has data for, as PNG files in `directory`, which is made when missing.

    histories: {preset: history.jsonl of its training}; one that does not exist is left out. Raises
    CorruptFile for a history that is not JSON lines, and Unwritable.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    slider = report.part("slider")
    if slider.series:
        written.append(_save(draw_slider(slider.series), directory / "slider.png"))
    tags = report.part("tags")
    if tags.series:
        presets = [row.system for row in tags.rows if row.kind == "preset"]
        baselines = [row for row in tags.rows if row.kind == "baseline"]
        if presets and baselines:
            strongest = max(baselines, key=lambda row: row.figures["F1"].mean).system
            for preset in presets:
                figure = draw_tag_gains(tags.series, preset, strongest)
                written.append(_save(figure, directory / f"tag-gains-{preset}.png"))
    if report.map:
        written.append(_save(draw_map(report.map), directory / "map.png"))
    for preset, history in (histories or {}).items():
        if history.exists():
            path = directory / f"training-{preset}.png"
            plot_curves(_read_history(history), path)
            written.append(path)
    return written


def draw_slider(series: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Tag nDCG@10 and raw cosine over the slider's stops, one line for each system."""
    figure = _figure(10, 4)
    left, right = figure.subplots(1, 2)
    for name, curves in series.items():
        left.plot(curves["v"], curves["nDCG@10"], marker="o", markersize=3, label=name)
        right.plot(curves["v"], curves["raw cosine"], marker="o", markersize=3, label=name)
    left.set(title="same things: tag nDCG@10", xlabel="visual weight")
    right.set(title="same look: mean raw cosine of the first ten", xlabel="visual weight")
    left.legend()
    return figure


def draw_tag_gains(series: Mapping[str, Any], preset: str, baseline: str) -> Figure:
    """F1 of a preset less F1 of the strongest baseline, for the tags that gain and lose most."""
    gains = np.array(series["F1"][preset], dtype=np.float64) - np.array(series["F1"][baseline])
    defined = [i for i in range(len(gains)) if math.isfinite(gains[i])]
    ordered = sorted(defined, key=lambda i: -gains[i])
    if len(ordered) > SHOWN_TAGS:
        ordered = ordered[: SHOWN_TAGS // 2] + ordered[-SHOWN_TAGS // 2 :]
    figure = _figure(8, 1.2 + 0.2 * len(ordered))
    axes = figure.subplots()
    places = np.arange(len(ordered))
    axes.barh(places, gains[ordered], color=["tab:green" if gains[i] >= 0 else "tab:red" for i in ordered])
    axes.set_yticks(places, [_plain(series["tag"][i]) for i in ordered], fontsize=7)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(title=f"F1 for each tag: {preset} - {baseline}")
    return figure


def draw_map(points: Mapping[str, Any]) -> Figure:
    """Images as dots, coloured by the rarest of their common tags, and tags as words, in two dimensions."""
    figure = _figure(9, 9)
    axes = figure.subplots()
    images, tags = np.array(points["images"]).reshape(-1, 2), np.array(points["tags"]).reshape(-1, 2)
    colours = np.array(points["colours"], dtype=np.int64)
    other = colours < 0
    axes.scatter(images[other, 0], images[other, 1], c="lightgrey", s=8)
    axes.scatter(images[~other, 0], images[~other, 1], c=colours[~other], cmap="tab20", s=10, alpha=0.7)
    axes.scatter(tags[:, 0], tags[:, 1], alpha=0.0)  # makes the frame take the words in
    for place, name in _readable(tags, points["names"]):
        x, y = place
        axes.annotate(_plain(name), (x, y), fontsize=8, weight="bold", ha="center")
    axes.set(title=str(points["title"]), xticks=[], yticks=[])
    return figure


def _readable(places: Float32Array, names: Sequence[str]) -> list[tuple[Float32Array, str]]:
    """The words that do not cover a word before them, which is a commoner tag."""
    extent = np.maximum(np.ptp(places, axis=0), 1e-9) if len(places) else np.ones(2)
    kept: list[tuple[Float32Array, str]] = []
    for place, name in zip(places, names, strict=True):
        gaps = [np.abs(place - other) / extent for other, _ in kept]
        if all(gap[0] > 0.09 or gap[1] > 0.018 for gap in gaps):
            kept.append((place, name))
    return kept


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _plain(name: str) -> str:
    """A tag as matplotlib can draw it: `$` starts a formula, and the font has no letters beyond Latin."""
    return "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in name).replace("$", r"\$")[:40]


def _save(figure: Figure, path: Path) -> Path:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_bytes(path, picture.getvalue())
    return path


def _read_history(path: Path) -> list[dict[str, float]]:
    """The numbers of each epoch. A preset may note more (a candidate, a duration), which is no curve."""
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [
            {name: float(x) for name, x in line.items() if isinstance(x, int | float) and name != "seconds"}
            for line in lines
            if "epoch" in line and "loss" in line
        ]
    except (ValueError, AttributeError, TypeError) as error:
        raise CorruptFile(f"The training history {path} is not JSON lines", path=path) from error
