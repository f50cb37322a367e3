"""One data directory as one file: `export` writes it, `import` reads it on another machine.

The archive is a plain tar, because thumbnails and features hardly shrink. Its first member lists every other
one with size and SHA-256, so an import checks each file before any of them is used. API keys and the history
of jobs belong to one service and not to its catalogue: they stay out, so an archive may be passed on.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import IO, Any

from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.durable import fsync_dir, refusing_unwritable
from graph_store.errors import BadInput, CorruptFile
from graph_store.progress import Progress
from graph_store.snapshot import Snapshot
from graph_store.versions import way_out

LISTING = "imsage-archive.json"
FORMAT = 1
UNFINISHED = ".import-tmp"
_BLOCK = 1 << 20
_MAX_LISTING_BYTES = 1 << 30
_LONGEST_NAME = 255
_FILES = {"CURRENT", "catalog.sqlite"}
_FOLDERS = {"features", "blobs", "models", "snapshots"}


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
        tempfile.TemporaryDirectory(dir=file.parent) as scratch,
    ):
        members = [_Member("catalog.sqlite", _copy_catalog(data_dir.catalog_path, Path(scratch)))]
        members += _members(data_dir)
        total = sum(member.path.stat().st_size for member in members)
        listing: dict[str, dict[str, Any]] = {}
        with progress.phase("Checksums", total) as advance:
            for member in members:
                size = member.path.stat().st_size
                listing[member.name] = {"size": size, "sha256": sha256_of_file(member.path)}
                advance(size)
        unfinished = Path(scratch) / "archive.tar"
        with tarfile.open(unfinished, "w") as archive, progress.phase("Writing", total) as advance:
            head = {"format": FORMAT, "imsage": version("imsage"), "files": listing}
            _add_bytes(archive, LISTING, json.dumps(head).encode())
            for member in members:
                archive.add(member.path, arcname=member.name, recursive=False)
                advance(member.path.stat().st_size)
        unfinished.replace(file)
        fsync_dir(file.parent)
    return len(members)


def import_archive(file: Path, data_dir: DataDir, progress: Progress) -> int:
    """Reads an archive into an empty data directory; returns how many files.

    All files are unpacked aside and checked first. They are then moved into place with the name of the
    snapshot last, so a kill leaves nothing that could be served half; the same command then goes on.
    Raises BadInput when the directory is in use already or the file is no archive, CorruptFile when it is
    damaged.
    """
    with data_dir.lock("import"), refusing_unwritable(data_dir.root):
        aside = data_dir.root / UNFINISHED
        if not aside.exists() and _holds_something(data_dir):
            raise BadInput(
                f"{data_dir.root} already holds a catalogue", hint="Import into an empty directory."
            )
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            count = _unpack(file, aside, progress)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        # The current snapshot's name comes last: before it, nothing here can be served.
        for name in sorted(
            (entry.name for entry in aside.iterdir()), key=lambda name: (name == "CURRENT", name)
        ):
            target = data_dir.root / name
            if target.is_dir():
                shutil.rmtree(target)
            (aside / name).replace(target)
            fsync_dir(data_dir.root)
        aside.rmdir()
        data_dir.create()
    return count


def _members(data_dir: DataDir) -> Iterator[_Member]:
    """Every file but the catalogue, in a fixed order. Raises CorruptFile when the snapshot is damaged."""
    folders = [data_dir.features_dir, data_dir.blobs_dir, data_dir.models_dir]
    files: list[Path] = []
    if data_dir.current_path.exists():
        folders.append(Snapshot.open(data_dir).directory)
        files.append(data_dir.current_path)
    for folder in folders:
        # A name that begins with a dot is one that a killed writer left behind.
        files += sorted(path for path in folder.rglob("[!.]*") if path.is_file())
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


def _unpack(file: Path, aside: Path, progress: Progress) -> int:
    """Writes the listed files below `aside`, each compared with the listing. Raises BadInput, CorruptFile."""
    try:
        with tarfile.open(file, "r:") as archive:
            listing = _read_listing(archive, file)
            missing = set(listing)
            with progress.phase("Unpacking", sum(entry["size"] for entry in listing.values())) as advance:
                while (member := archive.next()) is not None:
                    if member.name not in missing or not _is_plain(member):
                        raise _damaged(file, f"{member.name!r} is not in its list, or twice in the archive")
                    if member.size != listing[member.name]["size"]:
                        raise _damaged(file, f"{member.name!r} has another size than in its list")
                    missing.remove(member.name)
                    content = archive.extractfile(member)
                    assert content is not None  # a regular file has content
                    _write_checked(content, aside / member.name, listing[member.name], file)
                    advance(member.size)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise _damaged(file, str(error)) from error
    if missing:
        raise _damaged(file, f"{min(missing)} is missing")
    _check_digests(aside / "catalog.sqlite", file)
    return len(listing)


def _check_digests(catalog: Path, file: Path) -> None:
    """Whether the catalogue names pictures by SHA-256 alone: files are served and removed by these names."""
    if not catalog.exists():
        return
    try:
        with closing(sqlite3.connect(catalog)) as connection:
            other = connection.execute(
                "SELECT sha256 FROM image WHERE sha256 IS NOT NULL"
                " AND (typeof(sha256) <> 'text' OR length(sha256) <> 64 OR sha256 GLOB '*[^0-9a-f]*') LIMIT 1"
            ).fetchone()
    except sqlite3.DatabaseError as error:
        raise _damaged(file, f"its catalogue cannot be read: {error}") from error
    if other is not None:
        raise _damaged(file, f"its catalogue has {str(other[0])[:80]!r} in place of a picture's SHA-256")


def _read_listing(archive: tarfile.TarFile, file: Path) -> dict[str, dict[str, Any]]:
    """The first member. Names that lead outside of a directory are refused here, once for all."""
    first = archive.next()
    if first is None or first.name != LISTING or not _is_plain(first) or first.size > _MAX_LISTING_BYTES:
        raise BadInput(f"{file} is no imsage archive", hint="`imsage export` writes one.")
    content = archive.extractfile(first)
    assert content is not None
    try:
        head = json.loads(content.read())
        listing = {str(name): dict(entry) for name, entry in head["files"].items()}
        sound = all(
            type(entry["size"]) is int and entry["size"] >= 0 and isinstance(entry["sha256"], str)
            for entry in listing.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(file, "its list cannot be read") from error
    if head.get("format") != FORMAT:
        raise BadInput(
            f"{file} has archive format {head.get('format')!r}; this version reads {FORMAT}",
            hint=way_out(head.get("format"), FORMAT, "Export the data anew."),
        )
    if not sound:
        raise _damaged(file, "its list cannot be read")
    for name in listing:
        if not _is_allowed(name) or any(str(folder) in listing for folder in PurePosixPath(name).parents):
            raise _damaged(file, f"the name {name[:200]!r} is not allowed")
    return listing


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether it is a file whose bytes are all in the archive; holes would unpack to any size."""
    return member.isreg() and not member.issparse()


def _is_allowed(name: str) -> bool:
    """Whether an archive may hold a file of this name: one that `export` writes, and inside the directory."""
    path = PurePosixPath(name)
    if ".." in path.parts or name != path.as_posix() or not name.isprintable():
        return False
    if max((len(part.encode()) for part in path.parts), default=0) > _LONGEST_NAME:
        return False
    return name in _FILES if len(path.parts) < 2 else path.parts[0] in _FOLDERS


def _write_checked(content: IO[bytes], target: Path, entry: dict[str, Any], file: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as out:
        while block := content.read(_BLOCK):
            digest.update(block)
            size += len(block)
            out.write(block)
    if size != entry["size"] or digest.hexdigest() != entry["sha256"]:
        raise _damaged(file, f"{target.name} differs from its checksum")


def _damaged(file: Path, why: str) -> CorruptFile:
    return CorruptFile(f"The archive {file} is damaged: {why}", path=file, hint="Export it again.")
