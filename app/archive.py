"""One data directory as one file: `export` writes it, `import` reads it on another machine.

The archive is a plain tar, because thumbnails and features hardly shrink. Its first member lists every other
one with size and SHA-256, so an import checks each file before any of them is used. API keys and the history
of jobs belong to one service and not to its catalogue: they stay out, so an archive may be passed on.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

from app.archive_contents import (
    FORMAT,
    LISTING,
    MAX_LISTING_BYTES,
    Listing,
    as_text,
    forget_members,
    is_allowed,
    opened,
    read_listing,
    unpack,
)
from app.jobs.places import jobs_path
from app.stale_wal import remove_stale_wal
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.durable import fsync_dir, fsync_file, refusing_unwritable
from graph_store.errors import BadInput, CorruptFile
from graph_store.progress import Progress
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import refusing_unreadable
from graph_store.sqlite import translating_errors

UNFINISHED = ".import-tmp"
"""What is being unpacked. It may be anything, so it is never used."""
CHECKED = ".import-checked"
"""What was unpacked as a whole and checked, and is now moved into place."""

_ENTRY_BYTES = 128
"""The most that the list of an archive takes for a file, beside its name."""


@dataclass(frozen=True)
class _Member:
    """One file to archive: its name in the archive and where its bytes are."""

    name: str
    path: Path


@dataclass(frozen=True)
class Exported:
    """`files` are in the archive. `left_out`: what other programs have put beside them under names that no
    archive may hold, each by its place in the data directory.
    """

    files: int
    left_out: tuple[str, ...]


def export_archive(data_dir: DataDir, file: Path, progress: Progress) -> Exported:
    """Writes catalogue, features, blobs, models and the current snapshot into `file`.

    Older snapshots, API keys and the history of jobs stay out. What lies elsewhere, with a link in its place,
    is in it as if it lay here. Nobody may write meanwhile, and `file` appears only when it is complete.
    Raises NothingToServe when there is no catalogue, BadInput for more files than can be listed, CorruptFile,
    DataDirBusy, Unwritable.
    """
    Catalog.open(data_dir.catalog_path).close()
    file = file.absolute()
    with (
        data_dir.lock("export"),
        # A running server refuses writes meanwhile: the files shall be those that the list was made of.
        data_dir.writing("export"),
        refusing_unwritable(file),
        _scratch(file) as scratch,
    ):
        members = [_Member("catalog.sqlite", _copy_catalog(data_dir.catalog_path, scratch))]
        found = list(_members(data_dir))
        members += [member for member in found if is_allowed(member.name)]
        _refuse_too_many(data_dir, members)
        total = sum(member.path.stat().st_size for member in members)
        listing: Listing = {}
        with progress.phase("Checksums", total) as advance:
            for member in members:
                size = member.path.stat().st_size
                with refusing_unreadable(member.path):
                    listing[member.name] = {"size": size, "sha256": sha256_of_file(member.path)}
                advance(size)
        unfinished = scratch / "archive.tar"
        with tarfile.open(unfinished, "w") as archive, progress.phase("Writing", total) as advance:
            head = {"format": FORMAT, "imsage": version("imsage"), "files": listing}
            told = json.dumps(head).encode()
            _add(archive, LISTING, len(told), io.BytesIO(told))
            for member in members:
                size, written = listing[member.name]["size"], member.path.stat().st_mtime
                with member.path.open("rb") as content:
                    _add(archive, member.name, size, content, written)
                advance(size)
        fsync_file(unfinished)
        unfinished.replace(file)
        fsync_dir(file.parent)
    left_out = sorted({member.name for member in found if not is_allowed(member.name)})
    return Exported(len(members), tuple(left_out))


def import_archive(file: Path, data_dir: DataDir, progress: Progress) -> int:
    """Reads an archive into an empty data directory; returns how many files.

    All files are unpacked aside and checked first. They are then moved into place with the name of the
    snapshot last, so a kill leaves nothing that could be served half; the same command then goes on.
    Raises BadInput when the directory is in use already, the file is no archive, or the import of another one
    was cut short here, or a folder is in the way that cannot be moved, and CorruptFile when it is damaged.
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
            # What is in its place already is there once only, and a kill must not find it aside.
            _refuse_immovable((each for each in _folders(data_dir) if (checked / each.name).exists()), aside)
        elif _holds_something(data_dir):
            raise BadInput(
                f"{data_dir.root} already holds a catalogue", hint="Import into an empty directory."
            )
        else:
            _refuse_immovable(_folders(data_dir), aside)
            count = _unpack_durably(file, aside, progress)
            aside.replace(checked)
            fsync_dir(data_dir.root)
        _move(checked, data_dir)
        # In one step: what has this name no more is not taken up.
        checked.replace(aside)
        shutil.rmtree(aside)
        data_dir.create()
    return count


def _refuse_immovable(folders: Iterable[Path], aside: Path) -> None:
    """Before what may take hours: other folders are to take the place of these, so they may get lost. Raises
    BadInput for a link, and for what another disk is mounted at, which the system does not let be renamed.
    """
    for folder in folders:
        movable = not folder.is_symlink()
        if movable and folder.is_dir():
            try:
                folder.rename(aside)
                aside.rename(folder)
            except OSError:
                movable = False
        if not movable:
            raise BadInput(
                f"{folder} is a link or a disk of its own, and an import puts a folder into its place",
                hint="Import without it, move the folder to where it shall lie, and put the link there then.",
            )


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
    """Every file but the catalogue, in a fixed order. Raises CorruptFile when the snapshot is damaged, or
    where a link leads nowhere.
    """
    folders = [data_dir.features_dir, data_dir.blobs_dir, data_dir.models_dir]
    files: list[Path] = []
    if data_dir.current_path.exists():
        folders.append(Snapshot.open(data_dir).directory)
        files.append(data_dir.current_path)
    for folder in folders:
        if folder.is_symlink() or folder.exists():
            files += _files_below(folder)
    for path in files:
        yield _Member(path.relative_to(data_dir.root).as_posix(), path)


def _files_below(folder: Path, above: Collection[tuple[int, int]] = ()) -> Iterator[Path]:
    """All files, those behind links as well: a large folder may lie on another disk. above: the folders that
    it lies in, one of which a link may lead back to.

    A name that begins with a dot is one that a killed writer left behind, or what lies below one.
    """
    try:
        with refusing_unreadable(folder):
            told = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError as error:
        raise _leads_nowhere(folder) from error
    place = told.st_dev, told.st_ino
    if place in above:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from _files_below(path, (*above, place))
        elif entry.is_symlink() and not path.exists():
            raise _leads_nowhere(path)


def _leads_nowhere(link: Path) -> CorruptFile:
    return CorruptFile(
        f"The link {link} leads to nothing", path=link, hint="Mount the disk that it leads to, or remove it."
    )


def _refuse_too_many(data_dir: DataDir, members: Sequence[_Member]) -> None:
    """Before what may take hours: an import would not take so long a list. Raises BadInput."""
    if sum(len(json.dumps(member.name)) + _ENTRY_BYTES for member in members) > MAX_LISTING_BYTES:
        raise BadInput(
            f"{data_dir.root} holds {len(members):,} files, which is more than an archive can list",
            hint="Copy the directory itself while nothing writes to it.",
        )


def _copy_catalog(path: Path, scratch: Path) -> Path:
    """A copy of the database as of now, changes that still wait in its write-ahead log included."""
    copy = scratch / "catalog.sqlite"
    with (
        translating_errors(copy),
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return copy


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes], written: float = 0.0) -> None:
    """As a file of its own, whatever links there are to it."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = size, int(written)
    archive.addfile(entry, content)
    forget_members(archive)


def _folders(data_dir: DataDir) -> tuple[Path, ...]:
    return data_dir.features_dir, data_dir.blobs_dir, data_dir.models_dir, data_dir.snapshots_dir


def _holds_something(data_dir: DataDir) -> bool:
    return data_dir.catalog_path.exists() or any(
        folder.is_dir() and any(folder.iterdir()) for folder in _folders(data_dir)
    )
