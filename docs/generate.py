"""Writes the parts of the documentation that the code already knows: settings, commands, metrics, the plan.

    python -m docs.generate

Each part stands between two markers in its file; what is outside of them is written by hand. A test fails
when a part is not what this would write.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from fastapi.testclient import TestClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from app.api.application import create_app
from app.cli import application
from app.settings import ENV_PREFIX, Settings
from benchmarks import plan

DOCS = Path(__file__).parent
GENERATED = {
    "configuration.md": "settings",
    "cli.md": "commands",
    "operations.md": "metrics",
    "scale.md": "plan",
}


def settings_table() -> str:
    """One row for each setting: the environment variable, its default and what it does."""
    lines = ["| variable | default | what |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else field.default
        shown = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
        shown = shown.lower() if isinstance(default, bool) else shown
        lines.append(
            f"| `{ENV_PREFIX}{name.upper()}` | {f'`{shown}`' if shown else ''} | {field.description} |"
        )
    return "\n".join(lines)


def commands_text() -> str:
    """One section for each command: how it is called, what it does, its options."""
    group: Any = typer.main.get_command(application())
    return "\n\n".join(_command_text(name, command) for name, command in _commands(group))


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, command) of every command, those of groups as `group command`."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def _command_text(name: str, command: Any) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    usage = " ".join(["imsage", name, *(argument.metavar for argument in arguments), "[options]"])
    lines = [f"### `{usage}`", "", " ".join(command.help.split()), ""]
    if options:
        lines += ["| option | default | what |", "|---|---|---|"]
    for option in options:
        shown = "" if option.default is None or option.is_flag else f"`{option.default}`"
        metavar = "" if option.is_flag else f" {option.metavar or 'N'}"
        flags = ", ".join(f"`{flag}{metavar}`" for flag in option.opts)
        lines.append(f"| {flags} | {shown} | {_cell(option.help)} |")
    return "\n".join(lines).rstrip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def exposed_metrics() -> list[Metric]:
    """The families of metrics that a service exposes at /metrics, also before there is anything to serve."""
    with tempfile.TemporaryDirectory() as empty:
        client = TestClient(create_app(Settings(data=Path(empty))))
        families = list(text_string_to_metric_families(client.get("/metrics").text))
    # prometheus_client adds the moment at which each counter began, which belongs to the counter.
    return [family for family in families if not family.name.endswith("_created")]


def metrics_table() -> str:
    """One row for each metric: its name as it is queried, its type and what it says."""
    lines = ["| metric | type | what |", "|---|---|---|"]
    for family in sorted(exposed_metrics(), key=lambda family: family.name):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        lines.append(f"| `{name}` | {family.type} | {_cell(family.documentation)} |")
    return "\n".join(lines)


def between_markers(text: str, part: str) -> re.Match[str]:
    """The place of a generated part in a file's text. Raises ValueError when its markers are missing."""
    match = re.search(rf"(?s)<!-- {part} -->\n(.*?)\n<!-- /{part} -->", text)
    if match is None:
        raise ValueError(f"the markers of {part!r} are missing")
    return match


def generated(part: str) -> str:
    """What belongs between the markers of `part`."""
    parts = {
        "settings": settings_table,
        "commands": commands_text,
        "metrics": metrics_table,
        "plan": plan.text,
    }
    return parts[part]()


def main() -> None:
    """Bring every generated part up to date."""
    for file, part in GENERATED.items():
        path = DOCS / file
        text = path.read_text(encoding="utf-8")
        place = between_markers(text, part)
        path.write_text(text[: place.start(1)] + generated(part) + text[place.end(1) :], encoding="utf-8")


if __name__ == "__main__":
    main()
