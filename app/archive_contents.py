"""What an archive holds, read with every name and every byte checked: see :mod:`app.archive`."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

from graph_store.errors import BadInput, CorruptFile
from graph_store.progress import Progress
from graph_store.sqlite import translating_errors
from graph_store.versions import way_out

LISTING = "imsage-archive.json"
FORMAT = 1
MAX_LISTING_BYTES = 1 << 30
Listing: TypeAlias = dict[str, dict[str, Any]]
"""Size and SHA-256 of each file, by its name."""

_BLOCK = 1 << 20
_LONGEST_NAME = 255
_FILES = {"CURRENT", "catalog.sqlite"}
_FOLDERS = {"features", "blobs", "models", "snapshots"}


def unpack(file: Path, aside: Path, progress: Progress) -> Listing:
    """Writes the listed files below `aside`, each compared with the listing, which is returned. Raises
    BadInput, CorruptFile.
    """
    with opened(file) as archive:
        listing = read_listing(archive, file)
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
                forget_members(archive)
                advance(member.size)
    if missing:
        raise _damaged(file, f"{min(missing)} is missing")
    _check_digests(aside / "catalog.sqlite", file)
    return listing


@contextmanager
def opened(file: Path) -> Iterator[tarfile.TarFile]:
    """The archive, to be read from its beginning. Raises CorruptFile for what is no whole tar."""
    try:
        with tarfile.open(file, "r:") as archive:
            yield archive
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise _damaged(file, str(error)) from error


def forget_members(archive: tarfile.TarFile) -> None:
    """Let go of the members so far: tarfile keeps 2 KB of each, for who would ask for them by name."""
    archive.members.clear()  # type: ignore[attr-defined]  # getmembers() would read the archive to its end


def as_text(listing: Listing) -> str:
    """A listing as text: that of two archives is the same where they hold the same."""
    return json.dumps(listing, sort_keys=True)


def _check_digests(catalog: Path, file: Path) -> None:
    """Whether the catalogue names pictures by SHA-256 alone: files are served and removed by these names."""
    if not catalog.exists():
        return
    try:
        # As it is: in WAL mode SQLite makes files beside it otherwise, for which a full disk has no room.
        unchanging = f"{catalog.absolute().as_uri()}?mode=ro&immutable=1"
        with (
            translating_errors(catalog),
            closing(sqlite3.connect(unchanging, uri=True)) as connection,
        ):
            other = connection.execute(
                "SELECT sha256 FROM image WHERE sha256 IS NOT NULL"
                " AND (typeof(sha256) <> 'text' OR length(sha256) <> 64 OR sha256 GLOB '*[^0-9a-f]*') LIMIT 1"
            ).fetchone()
    except (CorruptFile, sqlite3.DatabaseError) as error:
        raise _damaged(file, f"its catalogue cannot be read: {error}") from error
    if other is not None:
        raise _damaged(file, f"its catalogue has {str(other[0])[:80]!r} in place of a picture's SHA-256")


def read_listing(archive: tarfile.TarFile, file: Path) -> Listing:
    """The first member. Names that lead outside of a directory are refused here, once for all."""
    first = archive.next()
    if first is None or first.name != LISTING or not _is_plain(first) or first.size > MAX_LISTING_BYTES:
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
        if not is_allowed(name) or any(str(folder) in listing for folder in PurePosixPath(name).parents):
            raise _damaged(file, f"the name {name[:200]!r} is not allowed")
    return listing


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether it is a file whose bytes are all in the archive; holes would unpack to any size."""
    return member.isreg() and not member.issparse()


def is_allowed(name: str) -> bool:
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
