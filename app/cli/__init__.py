"""The command `imsage`. Each file here holds one group of commands; errors.py holds what failures look like.

Whatever is slow to import (torch, faiss, the service) is imported inside the command that needs it, so that
`imsage --help` and wrong options answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from app.cli import asking, building, keeping, serving
from app.cli.errors import exit_code_of
from app.cli.keys import keys_commands


def application() -> typer.Typer:
    """All commands, in the order in which a newcomer needs them."""
    commands = typer.Typer(
        name="imsage",
        help="Image search with a dial: pictures and tags in one graph, one space, one slider.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    commands.callback()(_root)
    commands.command()(serving.demo)
    commands.command()(building.ingest)
    commands.command()(building.train)
    commands.command()(building.reindex)
    commands.command()(building.build)
    commands.command()(asking.evaluate)
    commands.command()(asking.search)
    commands.command()(serving.serve)
    commands.add_typer(keys_commands(), name="keys")
    commands.command()(keeping.info)
    commands.command()(keeping.jobs)
    commands.command()(keeping.verify)
    commands.command("export")(keeping.export)
    commands.command("import")(keeping.import_)
    return commands


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns the process's exit code."""
    name = next(iter(arguments), "")
    return exit_code_of(lambda: application()(args=list(arguments), prog_name="imsage"), name)


def main() -> None:
    """The entry point of the installed command."""
    sys.exit(run(sys.argv[1:]))


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"imsage {version('imsage')}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop."),
    ] = False,
) -> None:
    """Options that stand before a command."""
