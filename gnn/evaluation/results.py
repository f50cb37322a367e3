"""What an evaluation finds, as plain immutable data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gnn.evaluation.intervals import Interval

Kind = Literal["baseline", "preset"]


@dataclass(frozen=True)
class Row:
    """The figures of one system in one part."""

    system: str
    kind: Kind
    figures: Mapping[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; an undefined figure is null."""
        return {
            "system": self.system,
            "kind": self.kind,
            "figures": {
                name: {
                    "value": finite(i.mean),
                    "low": finite(i.low),
                    "high": finite(i.high),
                    "count": i.count,
                }
                for name, i in self.figures.items()
            },
        }


@dataclass(frozen=True)
class Part:
    """One part of the protocol: its rows, or the reason why it does not apply.

    series: named lists for the plots, such as a curve over the slider's stops.
    """

    name: str
    title: str
    rows: tuple[Row, ...] = ()
    not_applicable: str = ""
    notes: tuple[str, ...] = ()
    series: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        head: dict[str, Any] = {"name": self.name, "title": self.title, "notes": list(self.notes)}
        if self.not_applicable:
            return {**head, "not_applicable": self.not_applicable}
        return {**head, "rows": [row.to_dict() for row in self.rows], "series": _json_values(self.series)}


def _json_values(value: Any) -> Any:
    """Nested lists and mappings with NaN as null."""
    if isinstance(value, Mapping):
        return {str(k): _json_values(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json_values(v) for v in value]
    if isinstance(value, float):
        return finite(value)
    return value


def finite(value: float) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class Systems:
    """Which of the compared systems are presets; every other one is a baseline."""

    presets: frozenset[str]

    def kind(self, name: str) -> Kind:
        """What a system is."""
        return "preset" if name in self.presets else "baseline"
