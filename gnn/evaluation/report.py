"""The outcome of `imsage evaluate`: as JSON, and as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from rich.text import Text

from gnn.evaluation.intervals import Interval
from gnn.evaluation.results import Part, finite
from gnn.evaluation.tuning import Choice


@dataclass(frozen=True)
class EvaluationReport:
    """All parts of the protocol with what they were measured on.

    about: snapshot version, encoder, counts and the like, as JSON values; choices: the settings of the
    baselines, chosen on a validation part of the index; seconds: how long the evaluation took; notes: what
    casts doubt on some of the figures.
    """

    seed: int
    quick: bool
    about: Mapping[str, Any]
    parts: tuple[Part, ...]
    choices: tuple[Choice, ...] = ()
    seconds: float = 0.0
    map: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> Part:
        """The part of that name; KeyError when there is none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """As JSON values: no NaN, no NumPy types. Everything but `seconds` repeats with the seed."""
        return {
            "seed": self.seed,
            "quick": self.quick,
            "seconds": round(self.seconds, 1),
            "about": dict(self.about),
            "notes": list(self.notes),
            "parts": [part.to_dict() for part in self.parts],
            "baseline_settings": [
                {
                    "baseline": choice.name,
                    "settings": choice.settings,
                    "validation_ndcg@5": finite(choice.validation_ndcg),
                }
                for choice in self.choices
            ],
        }

    def table(self) -> Table:
        """One table for each part, below one another; intervals under the figures, the best in bold."""
        page = Table.grid(padding=(0, 0, 1, 0))
        for part in self.parts:
            page.add_row(part_table(part))
        for note in self.notes:
            page.add_row(Text(note, style="bold yellow"))
        return page


def part_table(part: Part) -> Table:
    """Systems as rows, figures as columns; or the reason why the part does not apply."""
    table = Table(title=part.title, title_justify="left", caption_justify="left", expand=False)
    if part.not_applicable:
        table.add_column("not applicable")
        table.add_row(part.not_applicable)
        return table
    names = list(dict.fromkeys(name for row in part.rows for name in row.figures))
    table.add_column("system")
    for name in names:
        table.add_column(name, justify="right")
    best = {name: _best(part, name) for name in names}
    for row in sorted(part.rows, key=lambda r: r.kind == "preset"):
        cells = [Text(row.system, style="bold cyan" if row.kind == "preset" else "")]
        for name in names:
            cells.append(_cell(row.figures.get(name), best[name], counted=name == "N+"))
        table.add_row(*cells)
    if part.notes:
        table.caption = "\n".join(part.notes)
    return table


LESS_IS_BETTER = frozenset(
    {
        "ECE",
        "ECE of the five",
        "unacceptable",
        "acceptable",
        "… refused",
        "left",
        "with the other's",
        "the same results",
    }
)


def _best(part: Part, figure: str) -> float:
    """The best value of a figure, NaN when none is defined."""
    values = [row.figures[figure].mean for row in part.rows if figure in row.figures]
    defined = [v for v in values if math.isfinite(v)]
    if not defined:
        return float("nan")
    return min(defined) if figure in LESS_IS_BETTER else max(defined)


def _cell(interval: Interval | None, best: float, *, counted: bool = False) -> Text:
    """0.638 over 0.622-0.655; of what is counted, 57/71 over 52-57."""
    if interval is None or not math.isfinite(interval.mean):
        return Text("-", style="dim")
    value = f"{interval.mean:.0f}/{interval.count}" if counted else f"{interval.mean:.3f}"
    text = Text(value, style="bold" if interval.mean == best else "")
    if math.isfinite(interval.low):
        digits = 0 if counted else 3
        text.append(f"\n{interval.low:.{digits}f}-{interval.high:.{digits}f}", style="dim not bold")
    return text
