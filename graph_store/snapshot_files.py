"""The parts of a snapshot on the disk: its name, its manifest and how they are checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graph_store.checksums import sha256_of_bytes, sha256_of_files
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile
from graph_store.exhaustion import exhausted
from graph_store.versions import way_out

SCHEMA_VERSION = 2
"""In 1 the search index held a copy of the vectors. Snapshots of either version are read as they are."""
_READABLE = (1, SCHEMA_VERSION)
MANIFEST, MANIFEST_SHA256 = "manifest.json", "manifest.sha256"
VERSION_PATTERN = re.compile(r"([0-9]{6,18})-[0-9a-f]{8}")
TEMPORARY = ".tmp-"


class OtherSchema(CorruptFile):
    """A snapshot that is whole, as far as can be told, and of a format that this imsage does not read."""


class UnreadableFile(CorruptFile):
    """A file that is there, and that nobody knows anything of: its rights or its disk are in the way. It may
    well be read later.
    """

    code = "unreadable-file"
    status = 503


@contextmanager
def refusing_unreadable(path: Path) -> Iterator[None]:
    """Turn what the system says of a file that it does not let be read into UnreadableFile. That one is
    missing, and that something has run out, passes. path: what is read, where the system does not say.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if exhausted(error) is not None:
            raise
        named = Path(error.filename or path)
        raise UnreadableFile(
            f"The file {named} cannot be read: {error.strerror or error}",
            path=named,
            hint="The user that imsage runs as must be able to read it.",
        ) from error


def current_version(data_dir: DataDir) -> str | None:
    """What CURRENT names, None when there is no CURRENT. Raises CorruptFile when it names nothing that can
    be a version, or cannot be read.
    """
    path = data_dir.current_path
    try:
        with refusing_unreadable(path):
            text = path.read_bytes()
    except FileNotFoundError:
        return None
    version = text.removesuffix(b"\n").decode("ascii", errors="replace")
    if not text.endswith(b"\n") or not VERSION_PATTERN.fullmatch(version):
        raise CorruptFile(f"{path} does not name a snapshot", path=path)
    with refusing_unreadable(data_dir.snapshots_dir):
        present = (data_dir.snapshots_dir / version).is_dir()
    if not present:
        raise CorruptFile(f"{path} names snapshot {version}, which is missing", path=path)
    return version


def versions(data_dir: DataDir) -> list[str]:
    """All versions present, oldest first, whole or not. Raises UnreadableFile."""
    if not data_dir.snapshots_dir.is_dir():
        return []
    with refusing_unreadable(data_dir.snapshots_dir):
        names = [path.name for path in data_dir.snapshots_dir.iterdir() if path.is_dir()]
    return sorted((name for name in names if VERSION_PATTERN.fullmatch(name)), key=number_of)


def manifest_of(directory: Path) -> dict[str, Any]:
    """The manifest of a snapshot, checked against its own checksum. Raises CorruptFile."""
    path, seal_path = directory / MANIFEST, directory / MANIFEST_SHA256
    try:
        with refusing_unreadable(path):
            data, recorded = path.read_bytes(), seal_path.read_bytes()
    except FileNotFoundError as error:
        raise CorruptFile(f"The file {error.filename} is missing", path=Path(error.filename)) from error
    return parsed_manifest(data, recorded, directory)


def parsed_manifest(data: bytes, recorded: bytes, directory: Path) -> dict[str, Any]:
    """The manifest in `data`, checked against its checksum `recorded` and the name of its directory. Raises
    CorruptFile, OtherSchema.
    """
    path = directory / MANIFEST
    if recorded != seal(data):
        raise CorruptFile(f"The file {path} is not what {MANIFEST_SHA256} beside it says", path=path)
    manifest: dict[str, Any] = json.loads(data)
    if manifest["version"] != directory.name:
        raise CorruptFile(f"The file {path} belongs to snapshot {manifest['version']}", path=path)
    if manifest["schema_version"] not in _READABLE:
        raise OtherSchema(
            f"The snapshot {directory} has schema version {manifest['schema_version']}, and this imsage "
            f"reads versions {_READABLE[0]} to {SCHEMA_VERSION}",
            path=path,
            hint=way_out(manifest["schema_version"], SCHEMA_VERSION, "Run imsage reindex."),
        )
    return manifest


def check_files(directory: Path, manifest: dict[str, Any], hashes: bool) -> None:
    """Raise the first of `faults`."""
    for fault in faults(directory, manifest, hashes):
        raise fault


def faults(directory: Path, manifest: dict[str, Any], hashes: bool) -> Iterator[CorruptFile]:
    """One CorruptFile for each listed file that is missing, cut short or, with `hashes`, altered. A directory
    that is removed meanwhile ends it: the file that was to be read next is missing. So does a file that
    cannot be read.
    """
    try:
        with refusing_unreadable(directory):
            yield from _faults(directory, manifest, hashes)
    except UnreadableFile as error:
        yield error
    except FileNotFoundError as error:
        yield CorruptFile(f"The file {error.filename} is missing", path=Path(error.filename))


def _faults(directory: Path, manifest: dict[str, Any], hashes: bool) -> Iterator[CorruptFile]:
    whole = {}
    for name, expected in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            yield CorruptFile(f"The file {path} is missing", path=path)
        elif path.stat().st_size != expected["size"]:
            yield CorruptFile(
                f"The file {path} has {path.stat().st_size} bytes in place of {expected['size']}", path=path
            )
        else:
            whole[path] = expected["sha256"]
    if hashes:
        for path, digest in zip(whole, sha256_of_files(list(whole)), strict=True):
            if digest != whole[path]:
                yield CorruptFile(
                    f"The file {path} has been altered: its SHA-256 is not the recorded one", path=path
                )


def files_below(directory: Path) -> list[Path]:
    """All files of a directory and its sub-directories, by name."""
    return sorted(path for path in directory.rglob("*") if path.is_file())


def number_of(version: str) -> int:
    """The running number that a version begins with."""
    return int(version.split("-")[0])


def json_bytes(value: Any) -> bytes:
    """JSON as snapshots write it."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode()


def seal(manifest: bytes) -> bytes:
    """What `manifest.sha256` holds for a manifest."""
    return f"{sha256_of_bytes(manifest)}\n".encode()
