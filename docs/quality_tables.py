"""The tables of docs/quality.md, from what `imsage evaluate --json FILE` wrote.

python -m docs.quality_tables FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def table(part: dict[str, Any]) -> str:
    """One part of the protocol in Markdown: a row a system, each figure with its 95 % interval."""
    names = list(dict.fromkeys(name for row in part["rows"] for name in row["figures"]))
    lines = [f"| system | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for row in part["rows"]:
        cells = [cell(row["figures"].get(name)) for name in names]
        system = f"**{row['system']}**" if row["kind"] != "baseline" else row["system"]
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(figure: dict[str, Any] | None) -> str:
    """A figure, with its interval where it has one."""
    if figure is None or figure["value"] is None:
        return "-"
    if figure.get("low") is None:
        return f"{figure['value']:g}" if figure["value"] >= 2 else f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['low']:.3f}-{figure['high']:.3f})"


def main() -> None:
    """Print every part that applies."""
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for part in report["parts"]:
        if part.get("rows"):
            print(f"### {part['title']}\n\n{table(part)}\n")


if __name__ == "__main__":
    main()
