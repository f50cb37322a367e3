"""What a built catalogue can be asked: `evaluate` for how good it is, `search` for its pictures."""

from __future__ import annotations

import json as json_format
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.cli.options import Data, Device, Seed, settings_for
from app.cli.telling import stdout_console
from app.progress import terminal_progress
from app.terminal_images import Protocol, When, picture_text, protocol_for
from app.terminal_text import printable

if TYPE_CHECKING:
    from app.lookup import Asked, Found, Lookup, Question

DEFAULT_STOPS = "0,0.5,1"


def evaluate(
    data: Data = None,
    json: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", dir_okay=False, help="Write every figure here as well."),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="DIR", file_okay=False, help="Draw the curves into this folder."),
    ] = None,
    seed: Seed = 0,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="At most 500 questions in place of 2,000, fewer settings of the baselines, and an eighth of "
            "the epochs for presets that learn again without hidden tags.",
        ),
    ] = False,
) -> None:
    """Measure every built model beside simple baselines on the held-out pictures."""
    from gnn.evaluation import evaluate as measure
    from gnn.evaluation.plots import write_plots
    from graph_store.durable import refusing_unwritable

    settings = settings_for(data)
    directory = settings.data_dir
    # Before minutes of measuring, not after them.
    for file in (json, plots and plots / "slider.png"):
        if file is not None:
            _refuse_unwritable(file)
    report = measure(directory, seed=seed, quick=quick, progress=terminal_progress(), milvus=settings.milvus)
    stdout_console().print(report.table())
    if json is not None:
        with refusing_unwritable(json):
            json.parent.mkdir(parents=True, exist_ok=True)
            json.write_text(json_format.dumps(report.to_json(), indent=2), encoding="utf-8")
        typer.echo(f"Figures: {json}")
    if plots is not None:
        histories = {path.parent.name: path for path in directory.models_dir.glob("*/history.jsonl")}
        for path in write_plots(report, plots, histories):
            typer.echo(f"Plot: {path}")


def _refuse_unwritable(file: Path) -> None:
    """Raises Unwritable where the file cannot be written; its directory is made, and it is left as it was."""
    from graph_store.durable import refusing_unwritable

    with refusing_unwritable(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        is_new = not file.exists()
        file.open("a").close()
        if is_new:
            file.unlink()


def search(
    data: Data = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(
            "--image",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Like this picture. Repeat for more queries.",
        ),
    ] = None,
    image_id: Annotated[
        list[str] | None,
        typer.Option("--image-id", metavar="ID", help="Like this picture of the catalogue. May be repeated."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag",
            metavar="TAG[:WEIGHT]",
            help="About this; a negative weight means not about it. May be repeated.",
        ),
    ] = None,
    text: Annotated[str | None, typer.Option("--text", metavar="WORDS", help="About this, in words.")] = None,
    visual_weight: Annotated[
        float,
        typer.Option(
            "--visual-weight", metavar="V", help="The slider: 0 is what it is about, 1 what it looks like."
        ),
    ] = 0.5,
    k: Annotated[int, typer.Option("-k", "--limit", min=1, max=1000, help="How many results.")] = 10,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="FILE",
            dir_okay=False,
            help="Draw a contact sheet (PNG): a row for each picture, a column for each stop of the slider.",
        ),
    ] = None,
    stops: Annotated[
        str, typer.Option("--stops", metavar="V,V,…", help="The stops that the sheet shows.")
    ] = DEFAULT_STOPS,
    images: Annotated[
        When,
        typer.Option(
            "--images",
            help="auto, always or never: pictures in the terminal (kitty, Ghostty, iTerm2, WezTerm).",
        ),
    ] = When.auto,
    device: Device = None,
) -> None:
    """Search by picture, tags and words, and print the results with both parts of their score."""
    weight = slider_value(visual_weight, "--visual-weight")
    slider_stops = tuple(slider_value(stop, "--stops") for stop in stops.split(","))
    questions = _questions(image or [], image_id or [], tag or [], text)

    from app.lookup import Lookup

    settings = settings_for(data)
    lookup = Lookup(
        settings.data_dir,
        max_bytes=settings.max_image_bytes,
        max_pixels=settings.max_image_pixels,
        device=device or settings.device,
        milvus=settings.milvus,
    )
    if lookup.problem:
        typer.echo(f"imsage: {printable(lookup.problem)}", err=True)
    asked = [(question, lookup.ask(question)) for question in questions]
    protocol = protocol_for(images, os.environ, sys.stdout.isatty())
    for question, vectors in asked:
        found = lookup.find(vectors, weight, k)
        if protocol is not None and found:
            _show(lookup, found, protocol)
        stdout_console().print(_table(question, vectors, found, weight))
    if sheet is not None:
        _draw(sheet, lookup, asked, slider_stops)
        typer.echo(f"Contact sheet: {sheet}")


def slider_value(given: str | float, option: str) -> float:
    """A place on the slider. Raises a usage error for anything but a number from 0 to 1."""
    try:
        value = float(given)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is not a number", param_hint=option) from None
    if not (math.isfinite(value) and 0.0 <= value <= 1.0):
        raise typer.BadParameter(f"{given} is not in the range 0 to 1", param_hint=option)
    return value


MOST_ASKED = 100.0
"""The largest weight of a tag that is asked for, as over HTTP."""


def tag_and_weight(given: str) -> tuple[str, float]:
    """`dog` is (dog, 1), `dog:-0.5` is (dog, -0.5).

    What follows the last colon is a weight if it is a number, so a tag that itself ends in a colon and a
    number is written with its weight: `16:9:1`.
    """
    name, colon, weight = given.rpartition(":")
    try:
        value = float(weight)
    except ValueError:
        name, value, colon = given, 1.0, ""
    if not colon:
        name, value = given, 1.0
    if not name.strip() or not 0 < abs(value) <= MOST_ASKED:
        raise typer.BadParameter(
            f"{given!r} is not a tag, or a tag and its weight of at most {MOST_ASKED:g}",
            param_hint="--tag",
        )
    return name.strip(), value


def _questions(images: list[Path], ids: list[str], tags: list[str], text: str | None) -> list[Question]:
    """One question for each picture, all with the same tags and words; just one when there is no picture."""
    weighted = [tag_and_weight(given) for given in tags]
    if not (images or ids or weighted or (text and text.strip())):
        raise typer.BadParameter("give at least one of --image, --image-id, --tag, --text")

    from app.lookup import Question
    from gnn.query import QueryTag

    asked_tags = tuple(QueryTag(name, weight) for name, weight in weighted)
    questions = [Question(picture=path, tags=asked_tags, text=text) for path in images]
    questions += [Question(image_id=image_id, tags=asked_tags, text=text) for image_id in ids]
    return questions or [Question(tags=asked_tags, text=text)]


def _table(question: Question, asked: Asked, found: list[Found], weight: float) -> Table:
    title = f"{printable(question.label)} · visual weight {weight:g} · attached to {asked.vectors.attach}"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("id", overflow="fold")
    for name in ("score", "visual", "conceptual"):
        table.add_column(name, justify="right")
    table.add_column("tags", overflow="fold")
    for place, hit in enumerate(found, start=1):
        numbers = (f"{hit.score:.4f}", f"{hit.visual:.4f}", f"{hit.conceptual:.4f}")
        table.add_row(str(place), printable(hit.id), *numbers, printable(", ".join(hit.tags)))
    return table


def _show(lookup: Lookup, found: list[Found], protocol: Protocol) -> None:
    from app.strip import draw_strip

    strip = draw_strip([lookup.thumbnail(hit.id) for hit in found], stdout_console().width)
    typer.echo(picture_text(strip.png, protocol, strip.columns, strip.rows), nl=False)


def _draw(
    file: Path,
    lookup: Lookup,
    asked: list[tuple[Question, Asked]],
    stops: tuple[float, ...],
) -> None:
    from app.contact import sheet_row
    from app.sheet import draw_sheet
    from graph_store.durable import refusing_unwritable

    rows = [sheet_row(lookup, question, vectors, stops) for question, vectors in asked]
    with refusing_unwritable(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        draw_sheet(rows, stops).save(file, format="PNG")
