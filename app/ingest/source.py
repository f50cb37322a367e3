"""Which form a source has."""

from __future__ import annotations

from pathlib import Path

from app.ingest.items import ImageSource
from app.ingest.sources.coco import CocoSource
from app.ingest.sources.csv import CsvSource
from app.ingest.sources.folder import FolderSource
from app.ingest.sources.jsonl import JsonlSource
from app.ingest.sources.listed_folder import LIST_NAME, ListedFolder
from graph_store.errors import BadInput, UnknownName, WrongUsage

FORMATS = ("auto", "jsonl", "csv", "coco", "folder")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".json": "coco"}


def open_source(
    source: Path, *, format: str = "auto", images_dir: Path | None = None, data_dir: Path | None = None
) -> ImageSource:
    """The source at `source`. `images_dir` is where the pictures of a COCO file lie. What lies in `data_dir`
    is no part of a folder.

    `auto` goes by the name: a folder, or .jsonl, .csv and .json (COCO). A folder that holds a `tags.jsonl` is
    described by that file. Raises UnknownName for another format, WrongUsage for an `images_dir` beside
    anything but COCO, BadInput when the source is missing, cannot be read, is of no known form or is the data
    directory.
    """
    if format not in FORMATS:
        raise UnknownName(f"There is no source format {format!r}", hint=f"Known: {', '.join(FORMATS)}.")
    source = source.expanduser().absolute()
    if not source.exists():
        raise BadInput(f"The source {source} does not exist")
    given = source
    if format == "auto":
        source, format = _recognise(source)
    if (format == "folder") != source.is_dir():
        wanted = "a folder" if format == "folder" else "a file"
        raise BadInput(f"The source {source} is not {wanted}, as the format {format!r} needs")
    if images_dir is not None and format != "coco":
        raise WrongUsage(
            "An images directory goes with COCO annotations only",
            hint="In the other formats paths are relative to the source, or absolute.",
        )
    _check_readable(source)
    if format == "folder":
        if data_dir is not None and data_dir.is_dir() and data_dir.samefile(source):
            raise BadInput(
                f"The source {source} is the data directory itself, whose thumbnails are pictures too",
                hint="Give --data another folder; it may lie inside the source.",
            )
        return FolderSource(source, data_dir)
    if format == "jsonl":
        return ListedFolder(given, data_dir) if given.is_dir() else JsonlSource(source)
    if format == "csv":
        return CsvSource(source)
    return CocoSource(source, images_dir.expanduser().absolute() if images_dir else None)


def _recognise(source: Path) -> tuple[Path, str]:
    if source.is_dir():
        listed = source / LIST_NAME
        return (listed, "jsonl") if listed.is_file() else (source, "folder")
    format = _SUFFIXES.get(source.suffix.lower())
    if format is None:
        raise BadInput(
            f"The form of the source {source} cannot be told from its name",
            hint="Give --format jsonl, csv, coco or folder.",
        )
    return source, format


def _check_readable(source: Path) -> None:
    if source.is_dir():
        return
    try:
        with source.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise BadInput(f"The source {source} cannot be read: {error.strerror}") from error
