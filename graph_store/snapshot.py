"""Immutable, versioned, checksummed directories, one of which is current.

A snapshot is written aside, checked, renamed into place and only then named in CURRENT, which is itself
replaced by a rename (:mod:`graph_store.swap`). So a kill at any point leaves the old snapshot current or the
new one. `manifest.json` lists every file with size and SHA-256; `manifest.sha256` holds the manifest's own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from graph_store.array_files import load_array, save_array
from graph_store.arrays import AnyArray
from graph_store.checksums import sha256_of_bytes, sha256_of_file, sha256_of_files
from graph_store.data_dir import DataDir
from graph_store.durable import fsync_dir, fsync_file, refusing_unwritable, remove_aside, write_bytes
from graph_store.errors import CorruptFile, ImsageError, NotFound, NothingToServe
from graph_store.snapshot_files import (
    MANIFEST,
    MANIFEST_SHA256,
    SCHEMA_VERSION,
    TEMPORARY,
    VERSION_PATTERN,
    OtherSchema,
    UnreadableFile,
    check_files,
    current_version,
    faults,
    files_below,
    json_bytes,
    manifest_of,
    number_of,
    seal,
    versions,
)
from graph_store.swap import finish_interrupted, make_current, swap_is_noted

_SET_HERE = ("schema_version", "version", "created", "files")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data directory."""

    path: Path
    reason: str


class Snapshot:
    """One snapshot, open for reading. It stays readable when a newer one becomes current."""

    def __init__(self, directory: Path, manifest: dict[str, Any]) -> None:
        self.directory = directory
        self.manifest = manifest

    @classmethod
    def open(cls, data_dir: DataDir, version: str | None = None, verify: bool = True) -> Snapshot:
        """Open a version, or the current one.

        Sizes and the manifest are always checked, the SHA-256 of each file when `verify` is set. Raises
        NothingToServe when nothing is current, NotFound for an unknown version, and CorruptFile, which names
        the file, when one is missing, cut short or altered.
        """
        if version is not None:
            # The name first: one from a cursor may be anything, also longer than a name of a file can be.
            if not VERSION_PATTERN.fullmatch(version) or not (data_dir.snapshots_dir / version).is_dir():
                raise NotFound(f"There is no snapshot {version!r}")
            return _opened(data_dir.snapshots_dir / version, verify)
        named = current_version(data_dir)
        if named is None:
            raise NothingToServe(
                f"{data_dir.root} has no snapshot yet", hint="Run imsage train and imsage reindex first."
            )
        try:
            return _opened(data_dir.snapshots_dir / named, verify)
        except CorruptFile:
            # A writer may have moved on and removed this version between the two steps.
            newer = current_version(data_dir)
            if newer in (None, named):
                raise
            return _opened(data_dir.snapshots_dir / str(newer), verify)

    @property
    def version(self) -> str:
        """Such as `000012-ab34cd56`; later snapshots sort after earlier ones."""
        return str(self.manifest["version"])

    @cached_property
    def secret(self) -> bytes:
        """What all who can read the snapshot know and nobody else: its version and what a service tells of it
        give no hint of the checksums of its files.
        """
        return sha256_of_bytes(json_bytes(self.manifest)).encode()

    def path(self, name: str) -> Path:
        """The file, or the directory of files, of that name. Raises NotFound."""
        files = self.manifest["files"]
        if name not in files and not any(file.startswith(f"{name}/") for file in files):
            raise NotFound(f"Snapshot {self.version} has no file {name!r}")
        return self.directory / name

    def check(self, *names: str) -> None:
        """Compare these files with their SHA-256. Raises CorruptFile, which names the first that differs, and
        NotFound.
        """
        for name in names:
            self.path(name)
        listed = {name: self.manifest["files"][name] for name in names}
        check_files(self.directory, {"files": listed}, hashes=True)

    def array(self, name: str) -> AnyArray:
        """The array that the writer stored under `name`, as a read-only memory map."""
        return load_array(self.path(f"{name}.npy"))

    def json(self, name: str) -> Any:
        """The value that the writer stored under `name`."""
        path = self.path(f"{name}.json")
        try:
            return json.loads(path.read_bytes())
        except (ValueError, OSError) as error:
            raise CorruptFile(f"The file {path} cannot be read", path=path) from error


class SnapshotWriter:
    """Writes one snapshot aside; used in a `with` block, by the holder of the data directory's lock.

    Leaving the block without `commit`, or by an exception, removes what was written. What an earlier writer
    left when it was killed is removed on entering.
    """

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir
        self._number = 0
        self._directory = data_dir.snapshots_dir
        self._meant: dict[Path, str | None] = {}
        self._sealed: dict[Path, tuple[int, str]] = {}

    def __enter__(self) -> SnapshotWriter:
        with refusing_unwritable(self._data_dir.snapshots_dir):
            self._data_dir.snapshots_dir.mkdir(parents=True, exist_ok=True)
            finish_interrupted(self._data_dir)
            self._number = _next_number(self._data_dir)
            self._directory = self._data_dir.snapshots_dir / f"{TEMPORARY}{self._number:06d}"
            self._directory.mkdir()
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Where to write the file or directory `name`, a relative path with `/`; its parent exists
        afterwards.
        """
        path = self._directory / name
        if (
            not path.is_relative_to(self._directory)
            or ".." in path.parts
            or name in (MANIFEST, MANIFEST_SHA256)
        ):
            raise ValueError(f"{name!r} is no name for a file of a snapshot")
        with refusing_unwritable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def array(self, name: str, array: AnyArray) -> None:
        """Write `<name>.npy`."""
        path = self.path(f"{name}.npy")
        self._meant[path] = save_array(path, array)

    def json(self, name: str, value: Any) -> None:
        """Write `<name>.json`."""
        path, data = self.path(f"{name}.json"), json_bytes(value)
        with refusing_unwritable(path):
            path.write_bytes(data)
        self._meant[path] = sha256_of_bytes(data)

    def seal(self, *names: str) -> None:
        """Wait until these files, which are done, are on the disk, and read them back: `commit` has the less
        to do. For another thread than that which goes on writing. Raises Unwritable.
        """
        for name in names:
            path = self.path(name)
            with refusing_unwritable(path):
                fsync_file(path)
                written = path.stat().st_mtime_ns
                self._sealed[path] = written, sha256_of_file(path)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory for what is no part of the snapshot; it goes with the block, or with what an
        interrupted writer left.

        It lies beside that of the snapshot: of a file that is still mapped when it is removed, NFS keeps
        another one in its place, which must not get into the manifest.
        """
        folder = self._directory.with_name(f"{self._directory.name}-scratch")
        with refusing_unwritable(folder):
            folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, manifest: dict[str, Any]) -> Snapshot:
        """Seal what was written, check it, and make it current.

        `manifest` says what it is: encoder, text_encoder, model, parameters, counts; the rest is filled in
        here. Each file is read back once. Raises Unwritable, or CorruptFile when one that this writer was
        given in memory is not what was to be written; then nothing has changed. An interruption at any point
        leaves the old snapshot current or, whole, the new one.
        """
        taken = [key for key in _SET_HERE if key in manifest]
        if taken:
            raise ValueError(f"the manifest's {', '.join(taken)} cannot be given")
        with refusing_unwritable(self._directory):
            paths = files_below(self._directory)
            for path in paths:
                if path.suffix == ".npy":
                    load_array(path)  # numpy's own writer may have dropped the end of it on a full disk
            files = {
                path.relative_to(self._directory).as_posix(): {"size": path.stat().st_size, "sha256": digest}
                for path, digest in self._read_back(paths)
            }
            sealed = {
                "schema_version": SCHEMA_VERSION,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                **manifest,
                "files": files,
            }
            sealed["version"] = f"{self._number:06d}-{sha256_of_bytes(json_bytes(sealed))[:8]}"
            data = json_bytes(sealed)
            write_bytes(self._directory / MANIFEST, data)
            write_bytes(self._directory / MANIFEST_SHA256, seal(data))
            for directory in [path for path in self._directory.rglob("*") if path.is_dir()]:
                fsync_dir(directory)
            fsync_dir(self._directory)
            check_files(self._directory, sealed, hashes=False)
        make_current(self._data_dir, self._directory, str(sealed["version"]))
        return Snapshot(self._data_dir.snapshots_dir / sealed["version"], sealed)

    def _read_back(self, paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
        """Each file and its SHA-256. Raises CorruptFile."""
        sealed = {
            path: digest
            for path, (written, digest) in self._sealed.items()
            if path in paths and path.stat().st_mtime_ns == written
        }
        rest = [path for path in paths if path not in sealed]
        for path in rest:
            fsync_file(path)
        digests = sealed | dict(zip(rest, sha256_of_files(rest), strict=True))
        for path in paths:
            if digests[path] != (self._meant.get(path) or digests[path]):
                raise CorruptFile(f"The file {path} does not hold what was written to it", path=path)
            yield path, digests[path]


def last_good(data_dir: DataDir) -> Snapshot:
    """The newest snapshot whose every file is as it was written. Raises NothingToServe when there is none."""
    for version in reversed(versions(data_dir)):
        try:
            return Snapshot.open(data_dir, version)
        except ImsageError:
            continue
    raise NothingToServe(f"{data_dir.root} has no whole snapshot", hint="Run imsage reindex.")


def keep_whole(data_dir: DataDir, keep: int, known: Collection[str] = ()) -> list[str]:
    """Remove all but the newest `keep` snapshots that are whole, and of those every one of which a file is
    missing or is not as it was written; the current one always stays. Returns the versions removed.

    It reads all files of those that stay, but for the current one and the versions in `known`, which somebody
    has just read. For the holder of the data directory's lock.
    """
    current = current_version(data_dir)
    whole, doomed = 0, []
    for version in reversed(versions(data_dir)):
        if version == current:
            whole += 1
        elif whole >= keep:
            doomed.append(version)
        else:
            try:
                Snapshot.open(data_dir, version, verify=version not in known)
                whole += 1
            except OtherSchema:
                whole += 1  # another imsage may want it
            except UnreadableFile:
                pass  # nothing is known of it: it is neither counted on nor removed
            except CorruptFile:
                doomed.append(version)
    _remove(data_dir, doomed)
    return doomed


def prune(data_dir: DataDir, keep: int) -> list[str]:
    """Remove all but the newest `keep` snapshots; the current one always stays. Returns the versions
    removed.
    """
    try:
        current = current_version(data_dir)
    except CorruptFile:
        return []  # while it is not known which one is current, none is spare
    present = versions(data_dir)
    doomed = [version for version in present[: max(0, len(present) - keep)] if version != current]
    _remove(data_dir, doomed)
    return doomed


def _remove(data_dir: DataDir, doomed: list[str]) -> None:
    with refusing_unwritable(data_dir.snapshots_dir):
        for version in doomed:
            # Renamed first: a kill in the middle leaves a temporary directory, never half a snapshot.
            aside = data_dir.snapshots_dir / f"{TEMPORARY}pruned-{version}"
            (data_dir.snapshots_dir / version).rename(aside)
            remove_aside(aside)
        if doomed:
            fsync_dir(data_dir.snapshots_dir)


def verify_all(data_dir: DataDir) -> list[Problem]:
    """Everything wrong with CURRENT and with any file of any snapshot; empty when all is well.

    Nobody is held up meanwhile: a snapshot that a reindex removes while it is read was not damaged.
    """
    problems: list[Problem] = []
    sealed = bool(versions(data_dir)) and not swap_is_noted(data_dir)
    try:
        if current_version(data_dir) is None and sealed:
            path = data_dir.current_path
            problems.append(
                Problem(path, f"{path} is missing, so none of the snapshots beside it is current")
            )
    except CorruptFile as error:
        problems.append(Problem(error.path, str(error)))
    for version in versions(data_dir):
        directory = data_dir.snapshots_dir / version
        found: list[CorruptFile] = []
        try:
            found += faults(directory, manifest_of(directory), hashes=True)
        except CorruptFile as error:
            found.append(error)
        if directory.is_dir():
            problems += [Problem(each.path, str(each)) for each in found]
    return problems


def _opened(directory: Path, verify: bool) -> Snapshot:
    manifest = manifest_of(directory)
    check_files(directory, manifest, hashes=verify)
    return Snapshot(directory, manifest)


def _next_number(data_dir: DataDir) -> int:
    return max((number_of(version) for version in versions(data_dir)), default=0) + 1
