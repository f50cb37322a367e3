"""Commands that end in a serving page: `demo` and `serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import Data
from app.cli.telling import stdout_console
from app.progress import terminal_progress

DEMO_DATA = Path("demo-data")

Host = Annotated[str | None, typer.Option("--host", metavar="HOST", help="The address to listen on.")]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="The TCP port to listen on.")]


def demo(
    data: Annotated[
        Path,
        typer.Option("--data", metavar="DIR", file_okay=False, help="Where the demo is built."),
    ] = DEMO_DATA,
    host: Host = None,
    port: Port = None,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Stop when it is built and measured.")] = False,
) -> None:
    """Build a catalogue of about 1,900 drawings, train, evaluate, and serve a page to search it with.

    Run again, it goes straight to serving what is built.
    """
    from app.demo.build import build_demo
    from app.own_process import command, environment
    from graph_store.data_dir import DataDir

    console = stdout_console()
    build_demo(
        DataDir(data), terminal_progress(), lambda shown: console.print(shown, markup=False, highlight=False)
    )
    if no_serve:
        return
    # A process of its own: FAISS takes its number of threads once, when it is loaded, and here it was loaded
    # to build, with all of them. It also gives back what the building held in memory.
    options = [("--data", data), ("--host", host), ("--port", port)]
    flags = [text for name, value in options if value is not None for text in (name, str(value))]
    sys.stdout.flush()
    os.execve(sys.executable, command("app", "serve", *flags), environment())


def serve(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Server processes; they share one snapshot in memory."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, by its name. May be repeated."),
    ] = None,
) -> None:
    """Serve the HTTP API and the web page."""
    from app.serve import serve as serve_forever
    from app.settings import load_settings

    named = {"data": data, "host": host, "port": port, "workers": workers}
    given = {name: value for name, value in named.items() if value is not None}
    settings = load_settings(**(_assigned(assignments or []) | given))
    typer.echo(f"Serving at http://{settings.host}:{settings.port} (Ctrl-C stops it)", err=True)
    serve_forever(settings)


def _assigned(assignments: list[str]) -> dict[str, str]:
    """Settings by name. Raises a usage error for what is no NAME=VALUE."""
    parts = [assignment.partition("=") for assignment in assignments]
    for name, equals, _ in parts:
        if not equals or not name.strip():
            raise typer.BadParameter(f"{name!r} is not NAME=VALUE", param_hint="--set")
    return {name.strip().lower(): value for name, _, value in parts}
