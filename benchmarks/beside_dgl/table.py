"""From turns to the table that is printed: rates are medians over the rounds, ratios are ours to theirs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.beside_dgl.task import Timed

Turns = Mapping[str, Sequence[Timed]]
"""What was measured → a side's turns at it."""


@dataclass(frozen=True)
class Row:
    """``ours`` and ``theirs``: what each side did, a key of its turns; ``edges``: count those."""

    shown: str
    ours: str
    theirs: str
    edges: bool = False


ROWS = (
    Row("sampling alone, edges/s", "sample", "sample", edges=True),
    Row("sampling alone, seeds/s", "sample", "sample"),
    Row("training, sampled edges/s", "step", "step", edges=True),
    Row("**training, seeds/s**", "step", "step"),
    Row("the same with the width and dropout of preset `paper`", "step, preset paper", "step"),
    Row("beside DGL's nodes of one kind", "step", "step, one kind of node"),
    Row("embedding all, nodes/s", "infer", "infer"),
)


def rate(turns: Sequence[Timed], edges: bool = False) -> float:
    """Units (or edges) a second: the median over the turns."""
    return statistics.median((turn.edges if edges else turn.units) / turn.seconds for turn in turns)


def best_ways(scouted: Mapping[tuple[str, str], Timed]) -> dict[str, str]:
    """What is measured → the way that does most units a second at it."""
    best: dict[str, str] = {}
    for what, way in scouted:
        if what not in best or rate([scouted[what, way]]) > rate([scouted[what, best[what]]]):
            best[what] = way
    return best


def table(title: str, ours: Turns, theirs: Turns, ways: Mapping[str, str]) -> str:
    """Markdown. ``ways``: how DGL did each, as :func:`best_ways` chose."""
    lines = [f"| {title} | imsage | DGL | ratio | DGL with |", "|---|---|---|---|---|"]
    for row in ROWS:
        mine, other = rate(ours[row.ours], row.edges), rate(theirs[row.theirs], row.edges)
        cells = row.shown, f"{mine:,.0f}", f"{other:,.0f}", f"{mine / other:.2f}", ways[row.theirs]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
