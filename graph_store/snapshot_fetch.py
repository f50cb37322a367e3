"""How a replica gets the published snapshot into its own data directory.

It is put together aside, in `snapshots/.part-<version>`, every file checked against the manifest, and then
swapped in as any snapshot is (:mod:`graph_store.swap`). What a stopped fetch has brought stays for the next.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from graph_store.checksums import sha256_of_bytes, sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.durable import fsync_dir, fsync_file, refusing_unwritable, write_bytes
from graph_store.errors import CorruptFile, ImsageError, NothingToServe
from graph_store.snapshot import prune
from graph_store.snapshot_files import (
    MANIFEST,
    MANIFEST_SHA256,
    OtherSchema,
    UnreadableFile,
    current_version,
    files_below,
    manifest_of,
    parsed_manifest,
    refusing_unreadable,
    versions,
)
from graph_store.snapshot_store import SnapshotStore
from graph_store.swap import finish_interrupted, make_current

_PART = ".part-"
_SNAPSHOTS = "snapshots"
_PIECE = 8 * 2**20
_MOST_OF_A_MANIFEST = 64 * 2**20
_MOST_OF_A_SEAL = 256
_TRIES = 3
_WAY_OUT = "Remove that file there, and run imsage reindex where it is published from: it is put there again."


class FetchStopped(ImsageError):
    """Whoever asked for the snapshot does not want it any more."""


@dataclass(frozen=True)
class Fetched:
    """`files` came from the store, of `size` bytes together; the others were here."""

    version: str
    files: int
    size: int


def fetch_current(
    store: SnapshotStore,
    data_dir: DataDir,
    keep: int,
    *,
    again: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Fetched | None:
    """Make what is published the current snapshot of `data_dir`; the newest `keep` stay. Returns None when
    it is that already; with `again` its files are checked then, and bad ones fetched anew.

    Raises NothingToServe when nothing is published, StoreUnreachable, CorruptFile, which names the file, when
    the store holds another file than the manifest says, Unwritable, DataDirBusy, and FetchStopped soon after
    `stopped` says so. Then what was current here is current still.
    """
    for attempt in range(_TRIES):
        version = store.current()
        if version is None:
            raise NothingToServe(
                f"Nothing has been published to {store.name} yet",
                hint="Run imsage reindex with the same snapshot_store.",
            )
        if not again and version == _named(data_dir):
            return None
        try:
            return _Fetch(store, data_dir, version, stopped).run(keep, again)
        except FileNotFoundError as error:
            # The writer may have moved on and removed this version meanwhile.
            if attempt == _TRIES - 1 or store.current() == version:
                name = f"{_SNAPSHOTS}/{version}/{error.args[0]}"
                raise CorruptFile(
                    f"The file {name} is missing in the store {store.name}", path=Path(name), hint=_WAY_OUT
                ) from None
    raise AssertionError("the last try returns or raises")


class _Fetch:
    def __init__(
        self, store: SnapshotStore, data_dir: DataDir, version: str, stopped: Callable[[], bool]
    ) -> None:
        self._store = store
        self._data_dir = data_dir
        self._version = version
        self._stopped = stopped
        self._part = data_dir.snapshots_dir / f"{_PART}{version}"

    def run(self, keep: int, again: bool) -> Fetched | None:
        """Raises FileNotFoundError, whose argument is the name, for a file that the store lacks."""
        manifest, sealed = self._manifest()
        with self._data_dir.lock("fetch a snapshot"), refusing_unwritable(self._data_dir.snapshots_dir):
            self._data_dir.snapshots_dir.mkdir(parents=True, exist_ok=True)
            finish_interrupted(self._data_dir)
            # Another process of this machine may have brought it since. What is being served stays in its
            # place unless a file of it is bad: until it is back, CURRENT names nothing.
            if self._version == _named(self._data_dir):
                if not again:
                    return None
                if self._is_whole(manifest["files"], sealed):
                    # Anew, so that whoever could not read it looks at it again.
                    write_bytes(self._data_dir.current_path, self._data_dir.current_path.read_bytes())
                    return Fetched(self._version, 0, 0)
            self._begin()
            came = self._files(manifest["files"])
            for name, data in sealed.items():
                (self._part / name).write_bytes(data)
                fsync_file(self._part / name)
            for directory in [path for path in self._part.rglob("*") if path.is_dir()]:
                fsync_dir(directory)
            fsync_dir(self._part)
            make_current(self._data_dir, self._part, self._version)
            prune(self._data_dir, keep)
        return Fetched(self._version, len(came), sum(came))

    def _manifest(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        sealed = {
            MANIFEST: self._read_whole(MANIFEST, _MOST_OF_A_MANIFEST),
            MANIFEST_SHA256: self._read_whole(MANIFEST_SHA256, _MOST_OF_A_SEAL),
        }
        folder = Path(_SNAPSHOTS) / self._version
        try:
            manifest = parsed_manifest(sealed[MANIFEST], sealed[MANIFEST_SHA256], folder)
            for name, told in manifest["files"].items():
                if not _is_plain(name) or int(told["size"]) < 0 or len(told["sha256"]) != 64:
                    raise ValueError(name)
        except OtherSchema:
            raise
        except (CorruptFile, ValueError, KeyError, TypeError, AttributeError) as error:
            path = folder / MANIFEST
            said = error.message if isinstance(error, CorruptFile) else f"The file {path} is no manifest"
            raise CorruptFile(f"{said}, in the store {self._store.name}", path=path, hint=_WAY_OUT) from error
        return manifest, sealed

    def _read_whole(self, name: str, most: int) -> bytes:
        try:
            return self._store.read(_SNAPSHOTS, self._version, name, most=most)
        except FileNotFoundError:
            raise FileNotFoundError(name) from None

    def _is_whole(self, files: Mapping[str, Mapping[str, Any]], sealed: Mapping[str, bytes]) -> bool:
        """Whether all files that are in place are as published."""
        final = self._data_dir.snapshots_dir / self._version
        told = [(name, int(each["size"]), str(each["sha256"])) for name, each in files.items()]
        told += [(name, len(data), sha256_of_bytes(data)) for name, data in sealed.items()]
        return all(_is(final / name, size, digest) for name, size, digest in told)

    def _begin(self) -> None:
        """Let the folder aside hold what there is of this version, and of no other."""
        for left_over in self._data_dir.snapshots_dir.glob(f"{_PART}*"):
            if left_over != self._part:
                shutil.rmtree(left_over)
        final = self._data_dir.snapshots_dir / self._version
        if final.is_dir():
            # It was here before, or is damaged: what is whole of it need not come again.
            shutil.rmtree(self._part, ignore_errors=True)
            final.rename(self._part)
        self._part.mkdir(exist_ok=True)

    def _files(self, files: Mapping[str, Mapping[str, Any]]) -> list[int]:
        """Bring together all files; returns the sizes of those that came from the store."""
        for path in files_below(self._part):
            if path.relative_to(self._part).as_posix() not in files:
                path.unlink()
        elsewhere = self._elsewhere()
        came = []
        for name, told in files.items():
            size, digest = int(told["size"]), str(told["sha256"])
            path = self._part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if _is(path, size, digest):
                continue
            path.unlink(missing_ok=True)
            known = elsewhere.get((size, digest))
            if known is not None:
                with suppress(OSError):
                    os.link(known, path)  # nothing ever writes into a file of a snapshot
                if _is(path, size, digest):
                    continue
                path.unlink(missing_ok=True)
            self._bring(name, path, size, digest)
            came.append(size)
        return came

    def _elsewhere(self) -> dict[tuple[int, str], Path]:
        """The files of the other snapshots that are here."""
        found = {}
        for version in versions(self._data_dir):
            directory = self._data_dir.snapshots_dir / version
            with suppress(CorruptFile):
                for name, told in manifest_of(directory)["files"].items():
                    found[int(told["size"]), str(told["sha256"])] = directory / name
        return found

    def _bring(self, name: str, path: Path, size: int, digest: str) -> None:
        """Fetch one file; what is not as the manifest says is removed again."""
        beside = path.with_name(f"{path.name}.part")
        hashed, done = hashlib.sha256(), 0
        try:
            with refusing_unwritable(path):
                target = beside.open("wb")
            with target, self._opened(name) as source:
                # One byte more than there should be is enough to know.
                while done <= size:
                    if self._stopped():
                        raise FetchStopped("The fetch was stopped")
                    with self._store.answering("read", pass_missing=True):
                        piece = source.read(min(_PIECE, size + 1 - done))
                    if not piece:
                        break
                    hashed.update(piece)
                    done += len(piece)
                    with refusing_unwritable(path):
                        target.write(piece)
                with refusing_unwritable(path):
                    target.flush()
                    os.fsync(target.fileno())
            if done != size or hashed.hexdigest() != digest:
                raise self._refused(name, done, size)
            beside.replace(path)
        except FileNotFoundError:
            raise FileNotFoundError(name) from None
        finally:
            beside.unlink(missing_ok=True)

    def _opened(self, name: str) -> Any:
        with self._store.answering("read", pass_missing=True):
            return self._store.files[0].open(self._store.path(_SNAPSHOTS, self._version, name), "rb")

    def _refused(self, name: str, done: int, size: int) -> CorruptFile:
        named = f"{_SNAPSHOTS}/{self._version}/{name}"
        where = f"The file {named} in the store {self._store.name}"
        if done < size:
            wrong = f"has {done} bytes in place of {size}"
        elif done > size:
            wrong = f"has more than {size} bytes"
        else:
            wrong = "has been altered: its SHA-256 is not the recorded one"
        return CorruptFile(f"{where} {wrong}", path=Path(named), hint=_WAY_OUT)


def _named(data_dir: DataDir) -> str | None:
    with suppress(CorruptFile):
        return current_version(data_dir)
    return None


def _is_plain(name: str) -> bool:
    """Whether a name from a manifest stays inside the snapshot, and is no name of ours."""
    path = PurePosixPath(name)
    return (
        name == path.as_posix()
        and not path.is_absolute()
        and ".." not in path.parts
        and bool(path.parts)
        and "\0" not in name
        and name not in (MANIFEST, MANIFEST_SHA256)
    )


def _is(path: Path, size: int, digest: str) -> bool:
    """Whether a file is there as published. One that the system does not let be read is not: here, unlike
    elsewhere, there is another one to be had.
    """
    try:
        with refusing_unreadable(path):
            return path.is_file() and path.stat().st_size == size and sha256_of_file(path) == digest
    except UnreadableFile:
        return False
