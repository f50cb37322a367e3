"""One data directory as one file: `export` writes it, `import` reads it on another machine.

The archive is a plain tar, because thumbnails and features hardly shrink. Its first member lists every other
one with size and SHA-256, so an import checks each file before any of them is used. API keys and the history
of jobs belong to one service and not to its catalogue: they stay out, so an archive may be passed on.
"""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from app.archive_contents import FORMAT, LISTING, Listing, as_text, opened, read_listing, unpack
from app.jobs.places import jobs_path
from app.stale_wal import remove_stale_wal
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.durable import fsync_dir, fsync_file, refusing_unwritable
from graph_store.errors import BadInput
from graph_store.progress import Progress
from graph_store.snapshot import Snapshot

UNFINISHED = ".import-tmp"
"""What is being unpacked. It may be anything, so it is never used."""
CHECKED = ".import-checked"
"""What was unpacked as a whole and checked, and is now moved into place."""


@dataclass(frozen=True)
class _Member:
    """One file to archive: its name in the archive and where its bytes are."""

    name: str
    path: Path


def export_archive(data_dir: DataDir, file: Path, progress: Progress) -> int:
    """Writes catalogue, features, blobs, models and the current snapshot into `file`; returns how many files.

    Older snapshots, API keys and the history of jobs stay out. Nobody may write meanwhile, and `file` appears
    only when it is complete. Raises NothingToServe when there is no catalogue, CorruptFile, DataDirBusy,
    Unwritable.
    """
    Catalog.open(data_dir.catalog_path).close()
    file = file.absolute()
    with (
        data_dir.lock("export"),
        # A running server waits with its writes: the files shall be those that the list was made of.
        data_dir.writing("export"),
        refusing_unwritable(file),
        _scratch(file) as scratch,
    ):
        members = [_Member("catalog.sqlite", _copy_catalog(data_dir.catalog_path, scratch))]
        members += _members(data_dir)
        total = sum(member.path.stat().st_size for member in members)
        listing: Listing = {}
        with progress.phase("Checksums", total) as advance:
            for member in members:
                size = member.path.stat().st_size
                listing[member.name] = {"size": size, "sha256": sha256_of_file(member.path)}
                advance(size)
        unfinished = scratch / "archive.tar"
        with tarfile.open(unfinished, "w") as archive, progress.phase("Writing", total) as advance:
            head = {"format": FORMAT, "imsage": version("imsage"), "files": listing}
            _add_bytes(archive, LISTING, json.dumps(head).encode())
            for member in members:
                archive.add(member.path, arcname=member.name, recursive=False)
                advance(member.path.stat().st_size)
        fsync_file(unfinished)
        unfinished.replace(file)
        fsync_dir(file.parent)
    return len(members)


def import_archive(file: Path, data_dir: DataDir, progress: Progress) -> int:
    """Reads an archive into an empty data directory; returns how many files.

    All files are unpacked aside and checked first. They are then moved into place with the name of the
    snapshot last, so a kill leaves nothing that could be served half; the same command then goes on.
    Raises BadInput when the directory is in use already, the file is no archive, or the import of another one
    was cut short here, and CorruptFile when it is damaged.
    """
    with data_dir.lock("import"), refusing_unwritable(data_dir.root):
        aside, checked = data_dir.root / UNFINISHED, data_dir.root / CHECKED
        shutil.rmtree(aside, ignore_errors=True)
        if checked.exists():
            # What is in place already came from there: it is no catalogue that somebody works with. One that
            # somebody has made since is told by its name, which would still be to come.
            if data_dir.catalog_path.exists() and (checked / data_dir.catalog_path.name).exists():
                raise BadInput(
                    f"{data_dir.root} holds a catalogue that was made after an import into it was cut short",
                    hint=f"Import into an empty directory, and remove {checked}.",
                )
            count = _taken_up(file, checked)
        elif _holds_something(data_dir):
            raise BadInput(
                f"{data_dir.root} already holds a catalogue", hint="Import into an empty directory."
            )
        else:
            count = _unpack_durably(file, aside, progress)
            aside.replace(checked)
            fsync_dir(data_dir.root)
        _move(checked, data_dir)
        # In one step: what has this name no more is not taken up.
        checked.replace(aside)
        shutil.rmtree(aside)
        data_dir.create()
    return count


def _taken_up(file: Path, checked: Path) -> int:
    """How many files are in the archive that was being moved into place. Raises BadInput when it is another:
    its files would be mixed with those that are there.
    """
    with opened(file) as archive:
        listing = read_listing(archive, file)
    kept = checked / LISTING
    if not kept.exists() or kept.read_text(encoding="utf-8") != as_text(listing):
        raise BadInput(
            f"The import of another archive into {checked.parent} was interrupted",
            hint="Import that one again, or choose an empty directory.",
        )
    return len(listing)


def _unpack_durably(file: Path, aside: Path, progress: Progress) -> int:
    """Fills `aside` with the checked files and their listing, and waits until all are on the disk."""
    aside.mkdir()
    try:
        listing = unpack(file, aside, progress)
        (aside / LISTING).write_text(as_text(listing), encoding="utf-8")
        written = sorted(aside.rglob("*"))
        with progress.phase("Waiting for the disk", len(written)) as advance:
            for path in written:
                (fsync_dir if path.is_dir() else fsync_file)(path)
                advance(1)
        fsync_dir(aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return len(listing)


def _move(checked: Path, data_dir: DataDir) -> None:
    """Everything but the listing into its place. The catalogue comes late, so that no command works on a part
    of it, and the current snapshot's name last: before it, nothing here can be served.
    """
    late = (data_dir.catalog_path.name, data_dir.current_path.name)
    names = {entry.name for entry in checked.iterdir()} - {LISTING}
    for name in [*sorted(names.difference(late)), *(name for name in late if name in names)]:
        target = data_dir.root / name
        if target.is_dir():
            shutil.rmtree(target)
        if target == data_dir.catalog_path:
            _remove_stale_logs(data_dir)
        (checked / name).replace(target)
        fsync_dir(data_dir.root)


def _remove_stale_logs(data_dir: DataDir) -> None:
    """The logs of databases that were here once, before somebody took the databases alone away."""
    remove_stale_wal(data_dir.catalog_path)
    if not jobs_path(data_dir).exists():
        remove_stale_wal(jobs_path(data_dir))


@contextmanager
def _scratch(file: Path) -> Iterator[Path]:
    """A folder beside the archive, for the length of a `with` block. Its name is always the same, so what a
    killed export left is removed by the next one.
    """
    scratch = file.with_name(f".{file.name}.export-tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _members(data_dir: DataDir) -> Iterator[_Member]:
    """Every file but the catalogue, in a fixed order. Raises CorruptFile when the snapshot is damaged."""
    folders = [data_dir.features_dir, data_dir.blobs_dir, data_dir.models_dir]
    files: list[Path] = []
    if data_dir.current_path.exists():
        folders.append(Snapshot.open(data_dir).directory)
        files.append(data_dir.current_path)
    for folder in folders:
        # A name that begins with a dot is one that a killed writer left behind, or what lies below one.
        files += sorted(
            path
            for path in folder.rglob("[!.]*")
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
    for path in files:
        yield _Member(path.relative_to(data_dir.root).as_posix(), path)


def _copy_catalog(path: Path, scratch: Path) -> Path:
    """A copy of the database as of now, changes that still wait in its write-ahead log included."""
    copy = scratch / "catalog.sqlite"
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _holds_something(data_dir: DataDir) -> bool:
    folders = (data_dir.features_dir, data_dir.blobs_dir, data_dir.models_dir, data_dir.snapshots_dir)
    return data_dir.catalog_path.exists() or any(
        folder.is_dir() and any(folder.iterdir()) for folder in folders
    )
