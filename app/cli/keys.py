"""`imsage keys`: who may call the service."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from app.cli.options import Data, data_dir
from app.cli.telling import stdout_console

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called in lists and logs.")]


def keys_commands() -> typer.Typer:
    """The commands about API keys."""
    commands = typer.Typer(
        help="API keys: as soon as there is one, every call under /v1 and /metrics needs one.",
        no_args_is_help=True,
    )
    commands.command()(create)
    commands.command("list")(list_)
    commands.command()(revoke)
    return commands


def create(
    name: Name,
    data: Data = None,
    scope: Annotated[
        str,
        typer.Option("--scope", metavar="SCOPE", help="read, or write, which includes read."),
    ] = "read",
) -> None:
    """Make an API key and print it. It is shown this once: only its hash is kept."""
    from app.keys import create_key

    key = create_key(data_dir(data), name, scope)
    typer.echo(f"Made the key {name!r} ({scope}). Keep it safe, it is not shown again:", err=True)
    typer.echo(key)


def list_(data: Data = None) -> None:
    """List the API keys by name, with their scopes and when they were made."""
    from app.keys import keys_path, read_keys

    keys = read_keys(keys_path(data_dir(data)))
    if not keys:
        typer.echo("There are no keys: the service is open to all who reach it, unless require_keys is set.")
        return
    table = Table("name", "scopes", "made")
    for key in keys:
        table.add_row(key.name, ", ".join(key.scopes), key.created)
    stdout_console().print(table)


def revoke(name: Name, data: Data = None) -> None:
    """Make an API key useless. A running service refuses it within a second."""
    from app.keys import revoke_key

    left = revoke_key(data_dir(data), name)
    typer.echo(f"Revoked the key {name!r}; {left} left.")
    if not left:
        typer.echo(
            "imsage: that was the last key: the service is now open to all who reach it, "
            "unless require_keys is set",
            err=True,
        )
