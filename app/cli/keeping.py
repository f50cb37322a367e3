"""Looking after a data directory: `info`, `verify`, `export`, `import`."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from app.cli.errors import FAILURE
from app.cli.options import Data, data_dir
from app.cli.telling import stdout_console
from app.progress import terminal_progress
from app.terminal_text import printable

_NAMED = 5


def info(
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    skips: Annotated[bool, typer.Option("--skips", help="List what the last ingestion skipped.")] = False,
) -> None:
    """Say what is in a data directory: catalogue, models, snapshots."""
    from app.info import describe, list_skips

    directory = data_dir(data)
    if skips:
        for line in list_skips(directory):
            typer.echo(printable(line))
        return
    summary = describe(directory)
    if json:
        typer.echo(json_format.dumps(summary.to_dict(), indent=2, ensure_ascii=False))
    else:
        stdout_console().print(summary.table())


def verify(data: Data = None) -> None:
    """Check every file against its checksum and the catalogue. Exit code 1 if anything is wrong."""
    from app.verify import verify_data_dir

    directory = data_dir(data)
    problems = verify_data_dir(directory, terminal_progress())
    for problem in problems:
        typer.echo(printable(problem))
    if problems:
        typer.echo(f"imsage: {len(problems)} problem(s) in {directory.root}", err=True)
        raise typer.Exit(FAILURE)
    typer.echo(f"Verified: nothing is wrong in {directory.root}")


def jobs(
    data: Data = None,
    json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
    limit: Annotated[
        int, typer.Option("-n", min=1, metavar="N", help="At most so many, the newest first.")
    ] = 20,
) -> None:
    """List the jobs that were started over HTTP or by the schedule, the newest first: what runs, and how the
    others ended.
    """
    from app.cli.telling import job_table
    from app.jobs.places import jobs_path
    from app.jobs.store import JobStore

    found = JobStore(jobs_path(data_dir(data))).page(limit)
    if json:
        listed = [job.to_dict() for job in found]
        typer.echo(json_format.dumps(listed, indent=2, ensure_ascii=False))
    elif found:
        stdout_console().print(job_table(found))
    else:
        typer.echo("There were no jobs yet")


def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", dir_okay=False, help="The archive to write (.tar).")
    ],
    data: Data = None,
) -> None:
    """Write a data directory into one file that `imsage import` reads on any machine. Left out are the API
    keys (keys.json), older snapshots and the history of jobs: a service restored from it answers everybody
    until it has keys.
    """
    from app.archive import export_archive

    exported = export_archive(data_dir(data), file, terminal_progress())
    typer.echo(f"Exported: {exported.files} files into {file}")
    for name in exported.left_out[:_NAMED]:
        typer.echo(printable(f"Left out, as no file of imsage's is called so: {name!r}"), err=True)
    if len(exported.left_out) > _NAMED:
        typer.echo(f"and {len(exported.left_out) - _NAMED} more", err=True)


def import_(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="An archive of `imsage export`."),
    ],
    data: Data = None,
) -> None:
    """Read an archive into an empty data directory, every file checked before any is used. No API keys are in
    it.
    """
    from app.archive import import_archive
    from app.keys import keys_path

    directory = data_dir(data)
    count = import_archive(file, directory, terminal_progress())
    typer.echo(f"Imported: {count} files")
    if not keys_path(directory).exists():
        typer.echo("No API keys are in it: make some with `imsage keys create` before serving it to others")
