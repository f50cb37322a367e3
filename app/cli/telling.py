"""What the commands print when they are done: a few plain lines on standard output."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from app.terminal_text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.ingest.report import IngestReport, Listing
    from app.jobs.job import Job
    from gnn.training import TrainReport
    from graph_store.snapshot import Snapshot

PIPE_WIDTH = 160  # columns of a table that goes to a file or a pipe, where rich would assume 80
SKIPS_SHOWN = 20


def stdout_console() -> Console:
    """Where tables go: as wide as the terminal, or wide enough to be read by another program. Square brackets
    and colons in them are what somebody called a picture, not styles.
    """
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, emoji=False)


def tell_ingested(report: IngestReport) -> None:
    """Every number of the promise seen = stored + unchanged + skipped, and the first skips by name. Raises
    BadInput after that when nothing could be used, so that the command fails.
    """
    counts = (
        f"Ingested: {report.seen:,} seen = {report.stored:,} stored + {report.unchanged:,} unchanged"
        f" + {len(report.skipped):,} skipped"
    )
    first = report.first_replaced
    if first is not None:
        which = "one that was uploaded" if first.before is None else f"that of {first.before}"
        counts += (
            f"; {report.replaced:,} replaced the picture of another file that is still there, or one that was"
            f" uploaded, as {first.id} did {which}"
            " (to keep both, ingest a folder above both or give them ids of their own in a tags.jsonl)"
        )
    if report.edited:
        counts += (
            f"; {report.edited:,} had been edited over HTTP, as {', '.join(report.first_edited)}"
            " (the source has changed since, so what it says of them took the place of the edits)"
        )
    if report.first_returned is not None:
        counts += (
            f"; {report.returned:,} had been removed over HTTP and are stored again, as"
            f" {report.first_returned} is (the source still has them: take them out of it, then remove them"
            " once more)"
        )
    if report.first_gone is not None:
        done = "were removed" if report.pruned else "stay in the catalogue; --prune removes them"
        counts += f"; {report.gone:,} are gone from the source, as {report.first_gone} is ({done})"
    typer.echo(printable(counts))
    if report.listing is not None:
        typer.echo(printable(_of_the_listing(report.listing)))
    told = [("skipped", skip) for skip in report.skipped] + [("noted", note) for note in report.notes]
    for what, skip in told[:SKIPS_SHOWN]:
        place = skip.source if skip.line is None else f"{skip.source}:{skip.line}"
        typer.echo(printable(f"  {what} {skip.item} ({place}): {skip.reason}"))
    if len(told) > SKIPS_SHOWN:
        typer.echo(f"  and {len(told) - SKIPS_SHOWN:,} more; `imsage info --skips` lists every one of them")
    report.refuse_if_useless()


def _of_the_listing(listing: Listing) -> str:
    others = ""
    if listing.unlisted is not None:
        others = f"; {listing.unlisted:,} picture files of the folder are not in it"
    return f"  read: what {listing.path} lists{others} (--format folder reads every file)"


def tell_trained(report: TrainReport) -> None:
    """The model, how long it took and how good it got on the validation part."""
    typer.echo(
        f"Trained: preset {report.preset}, {report.epochs} epochs in {report.seconds:.0f} s,"
        f" best validation metric {report.best_metric:.4f}, in {report.model_dir}"
    )


def tell_snapshot(snapshot: Snapshot) -> None:
    """The new snapshot's version and what is in it."""
    counts = ", ".join(f"{count:,} {name}" for name, count in snapshot.manifest["counts"].items())
    typer.echo(f"Indexed: snapshot {snapshot.version} ({counts})")


def job_table(jobs: Sequence[Job]) -> Table:
    """One line a job."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("job", "kind", "state", "started", "progress"):
        table.add_column(name, overflow="fold")
    for job in jobs:
        state = "interrupted" if job.interrupted else job.state
        table.add_row(job.id, job.kind, state, _to_the_second(job.started), _progress_of(job))
    return table


def _to_the_second(moment: str | None) -> str:
    return "" if moment is None else datetime.fromisoformat(moment).isoformat(timespec="seconds")


def _progress_of(job: Job) -> str:
    if job.error is not None:
        return printable(job.error["detail"])
    told = job.progress
    total = "" if told.total is None else f" of {told.total:,}"
    left = "" if told.seconds_left is None or not job.active else f", {told.seconds_left:.0f} s left"
    return f"{told.phase}: {told.done:,}{total}{left}"
