"""The tables of docs/quality.md, from what was measured.

    python -m docs.quality_tables FILE      every part of what `imsage evaluate --json FILE` wrote

A page may hold marks, `<!-- measured: NAME -->` and `<!-- end -->`; what stands between them is made from the
outcomes of `make bench-quality` (:mod:`benchmarks.quality`). Names: `about`, a part of the evaluation of the
first seed, `seeds`, `captioned`, `ablations`, `wrong`, `robustness`, `gaps`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

MARKS = re.compile(r"(<!-- measured: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
ROBUSTNESS_HEAD = (
    "| catalogue | default | best baseline | ratio | which | R@5 | of the best | F1 | of the best |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
GAPS = (
    ("contexts: share of results that lack the tag, default", "contexts", "default", "with the tag", True),
    ("the same, late fusion", "contexts", "MLP + raw, tag certain", "with the tag", True),
    ("slider: Spearman(v, -nDCG@10), default", "slider", "default", "Spearman(v, -nDCG@10)", False),
)
"""What the page tells of single seeds: label, part, system, figure, and whether its rest to 1 is told."""
HEADLINES = (
    ("untagged", "nDCG@5"),
    ("untagged", "ratio@5"),
    ("untagged", "nDCG@10"),
    ("tagged", "nDCG@10"),
    ("told", "nDCG@10"),
    ("incomplete", "ratio to hard filter"),
    ("completion", "R@5"),
    ("slider", "Spearman(v, -nDCG@10)"),
    ("tags", "R@5"),
    ("tags", "F1"),
    ("tags", "ECE"),
    ("unwanted", "left"),
    ("unwanted", "rest kept"),
    ("synonyms", "recall@10"),
    ("captions", "recall@10"),
    ("captions", "nDCG@10, held out"),
)


def table(part: dict[str, Any]) -> str:
    """One part of the protocol in Markdown: a row a system, each figure with its 95 % interval."""
    names = list(dict.fromkeys(name for row in part["rows"] for name in row["figures"]))
    lines = [f"| system | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row in part["rows"]:
        cells = [cell(row["figures"].get(name), counted=name == "N+") for name in names]
        system = f"**{row['system']}**" if row["kind"] != "baseline" else row["system"]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(figure: dict[str, Any] | None, *, counted: bool = False) -> str:
    """A figure, with its interval where it has one."""
    if figure is None or figure["value"] is None:
        return "-"
    if figure.get("low") is None:
        return f"{figure['value']:g}" if figure["value"] >= 2 else f"{figure['value']:.3f}"
    if counted:
        return f"{figure['value']:.0f} ({figure['low']:.0f}-{figure['high']:.0f})"
    return f"{figure['value']:.3f} ({figure['low']:.3f}-{figure['high']:.3f})"


def renewed(page: str, outcomes: Path) -> str:
    """The page with what stands between its marks made anew; a mark of what was not measured says so."""

    def made(found: re.Match[str]) -> str:
        return f"{found[1]}{section(found[2], outcomes)}\n{found[3]}"

    return MARKS.sub(made, page)


def section(name: str, outcomes: Path) -> str:
    """What belongs between the marks of that name."""
    if name == "about":
        return _about(outcomes)
    if name == "seeds":
        return _seeds(outcomes, "photos")
    if name == "captioned":
        return _seeds(outcomes, "captioned")
    if name == "gaps":
        return _gaps(outcomes)
    if name == "robustness":
        return _robustness(outcomes)
    path = outcomes / f"{name}.json"
    if path.exists():
        return str(_read(path)["table"])
    first = outcomes / "photos-0.json"
    if first.exists():
        for part in _read(first)["parts"]:
            if part["name"] == name and part.get("rows"):
                return table(part)
    return "Not measured."


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _about(outcomes: Path) -> str:
    """What the figures were measured on."""
    about, report = _read(outcomes / "about.json"), _read(outcomes / "photos-0.json")
    counts = report["about"]
    trained = {
        path.stem.removeprefix("train-").removesuffix("-0"): _read(path)
        for path in sorted(outcomes.glob("train-*-0.json"))
    }
    threads = max((each["threads"] for each in trained.values()), default=0)
    seconds = ", ".join(f"`{name}` {each['seconds']:.0f}" for name, each in trained.items())
    return (
        f"Measured at commit {about['commit']}{', quickly' if about['quick'] else ''}: "
        f"{counts['indexed_images']:,} images indexed, {counts['held_out_images']:,} held out, "
        f"{counts['tags']} tags, {counts['image_encoder']} features, seed {report['seed']}. "
        f"Seconds of training, {threads} thread{'s' if threads != 1 else ''}: {seconds}."
    )


def _seeds(outcomes: Path, catalogue: str) -> str:
    """Mean and half the range over the seeds, default and the best baseline of each seed."""
    reports = [_read(path) for path in sorted(outcomes.glob(f"{catalogue}-*.json"))]
    if not reports:
        return "Not measured."
    lines = ["| figure | default | best baseline |", "|---|---|---|"]
    for part, figure in HEADLINES:
        ours, theirs = [], []
        for report in reports:
            rows = [row for each in report["parts"] if each["name"] == part for row in each.get("rows", ())]
            values = [(row, row["figures"].get(figure, {}).get("value")) for row in rows]
            ours += [value for row, value in values if row["system"] == "default" and value is not None]
            others = [value for row, value in values if row["kind"] == "baseline" and value is not None]
            if others:
                theirs.append(min(others) if figure in ("ECE", "left") else max(others))
        if ours:
            lines.append(f"| {part}: {figure} | {_spread(ours)} | {_spread(theirs) if theirs else '-'} |")
    return f"{len(reports)} seeds.\n\n" + "\n".join(lines) if len(reports) != 1 else "\n".join(lines)


def _gaps(outcomes: Path) -> str:
    """Figures of each seed that the page speaks of."""
    reports = [_read(path) for path in sorted(outcomes.glob("photos-*.json"))]
    if not reports:
        return "Not measured."
    seeds = " | ".join(f"seed {report['seed']}" for report in reports)
    lines = [f"| figure | {seeds} |", f"|---|{'---|' * len(reports)}"]
    for label, part, system, figure, is_rest in GAPS:
        cells = []
        for report in reports:
            rows = [row for each in report["parts"] if each["name"] == part for row in each.get("rows", ())]
            values = [row["figures"][figure]["value"] for row in rows if row["system"] == system]
            known = [1 - value if is_rest else value for value in values if value is not None]
            cells.append(f"{known[0]:.3f}" if known else "-")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    middle = sum(values) / len(values)
    return f"{middle:.3f} ± {(max(values) - min(values)) / 2:.3f}" if len(values) > 1 else f"{middle:.3f}"


def _robustness(outcomes: Path) -> str:
    rows = [row for path in sorted(outcomes.glob("robustness-*.json")) for row in _read(path)["rows"]]
    if not rows:
        return "Not measured."
    return "\n".join([ROBUSTNESS_HEAD, *rows])


def main() -> None:
    """Print every part that applies."""
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for part in report["parts"]:
        if part.get("rows"):
            print(f"### {part['title']}\n\n{table(part)}\n")


if __name__ == "__main__":
    main()
