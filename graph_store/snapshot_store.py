"""Published snapshots in object storage, or in any other place that fsspec reaches: s3://, gs://, file://.

    <url>/snapshots/<version>/…    the files of a snapshot, as they lie in a data directory
    <url>/CURRENT                  the version that replicas serve

The files come first, the manifest and its seal behind them, CURRENT last. So a reader never sees half a
snapshot, and what an interrupted publication left is taken up by the next one. One writer publishes to a
store; any number of replicas read it (:mod:`graph_store.snapshot_fetch`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from graph_store.errors import BadInput, CorruptFile, ImsageError
from graph_store.exhaustion import exhausted
from graph_store.progress import Progress, SilentProgress
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import MANIFEST, MANIFEST_SHA256, VERSION_PATTERN, number_of

CURRENT = "CURRENT"
_NEXT = "CURRENT.next"
_SNAPSHOTS = "snapshots"
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_MOST_OF_A_POINTER = 64


class StoreUnreachable(ImsageError):
    """The store of published snapshots does not answer, or not as it should."""

    code = "store-unreachable"
    status = 503


@dataclass(frozen=True)
class Published:
    """What a publication has done: `files` put there, of `size` bytes together, and `removed` versions."""

    version: str
    files: int
    size: int
    removed: tuple[str, ...]


@dataclass(frozen=True)
class SnapshotStore:
    """`url`: where the snapshots lie, such as s3://bucket/imsage. What it says to log in is never shown."""

    url: str = field(repr=False)

    @property
    def name(self) -> str:
        """The URL without user, password and parameters: what logs and problems show."""
        scheme, separator, rest = self.url.partition("://")
        host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
        return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"

    @cached_property
    def files(self) -> tuple[Any, str]:
        """fsspec's file system, and the folder in it. Nothing is connected to before it is used. Raises
        BadInput for a protocol that is not known, or whose package is not installed.
        """
        from fsspec.core import url_to_fs

        try:
            # An instance of our own: a cached one could have been made with other credentials.
            system, root = url_to_fs(self.url, skip_instance_cache=True)
        except ImportError as error:
            extra = _EXTRAS.get(self.url.partition("://")[0])
            raise BadInput(
                f"The snapshot store {self.name} needs a package that is not installed: "
                f"{self.without_secrets(str(error))}",
                hint=f'In the checkout of imsage: pip install -e ".[{extra}]"' if extra else "",
            ) from None
        except Exception as error:
            raise BadInput(
                f"The snapshot store {self.name} cannot be used: {self.without_secrets(str(error))}",
                hint="It is a URL of fsspec, such as s3://bucket/imsage or file:///mnt/store.",
            ) from None
        return system, str(root).rstrip("/")

    def without_secrets(self, text: str) -> str:
        """The text with everything blacked out that the URL says to log in: libraries quote URLs."""
        parts = urlsplit(self.url)
        user = parts.netloc.rpartition("@")[0]
        secrets = {user, user.partition(":")[2], parts.query}
        secrets |= {value for _, value in parse_qsl(parts.query)}
        for secret in sorted({each for said in secrets for each in (said, unquote(said))}, key=len)[::-1]:
            text = text.replace(secret, "***") if secret else text
        return text

    @contextmanager
    def answering(self, doing: str, *, pass_missing: bool = False) -> Iterator[None]:
        """Turns what goes wrong between us and the store into StoreUnreachable; with `pass_missing`, all but
        a missing file.
        """
        try:
            yield
        except ImsageError:
            raise
        except Exception as error:
            if pass_missing and isinstance(error, FileNotFoundError):
                raise
            # `from None`: the library's own message may hold the credentials, and a traceback would show it.
            lacking = exhausted(error)
            if lacking is not None:
                raise lacking from None
            said = self.without_secrets(str(error) or type(error).__name__).splitlines()[0]
            raise StoreUnreachable(
                f"The snapshot store {self.name} cannot be {doing}: {said}",
                hint="Look whether it can be reached, and whether the setting snapshot_store and its log-in "
                "are right.",
            ) from None

    def path(self, *parts: str) -> str:
        """A place in the store, as its file system names it."""
        return "/".join((self.files[1], *parts))

    def read(self, *parts: str, most: int) -> bytes:
        """A small file, at most `most` bytes of it. Raises FileNotFoundError, StoreUnreachable."""
        with self.answering("read", pass_missing=True):
            system, _ = self.files
            with system.open(self.path(*parts), "rb") as file:
                found: bytes = file.read(most)
                return found

    def current(self) -> str | None:
        """The version that is published; None when there is none yet. Raises StoreUnreachable, and
        CorruptFile when CURRENT names nothing that can be a version.
        """
        try:
            text = self.read(CURRENT, most=_MOST_OF_A_POINTER)
        except FileNotFoundError:
            return None
        version = text.removesuffix(b"\n").decode("ascii", errors="replace")
        if not text.endswith(b"\n") or not VERSION_PATTERN.fullmatch(version):
            raise CorruptFile(
                f"The file {CURRENT} in the store {self.name} does not name a snapshot",
                path=Path(CURRENT),
                hint="Run imsage reindex where it is published from.",
            )
        return version

    def publish(self, snapshot: Snapshot, keep: int, progress: Progress | None = None) -> Published:
        """Put a whole snapshot there and make it the one that replicas serve; the newest `keep` stay.

        What is there already, with the right size, is not put again. For the holder of the lock on the data
        directory. Raises StoreUnreachable; then the version that was current is current still, or this one
        is, and the next call goes on.
        """
        names = [*sorted(snapshot.manifest["files"]), MANIFEST, MANIFEST_SHA256]
        sizes = {name: (snapshot.directory / name).stat().st_size for name in names}
        there = self._there().get(snapshot.version, {})
        missing = [name for name in names if there.get(name) != sizes[name]]
        if missing and MANIFEST_SHA256 not in missing:
            missing.append(MANIFEST_SHA256)  # behind everything, also when a lost file is put back
        progress = progress or SilentProgress()
        with progress.phase("publish", len(missing)) as advance, self.answering("written"):
            for name in missing:
                self._put(snapshot, name)
                advance(1)
            if self._named() != snapshot.version:
                self._name(snapshot.version)
        removed = self._prune(snapshot.version, keep)
        return Published(snapshot.version, len(missing), sum(sizes[name] for name in missing), removed)

    def _put(self, snapshot: Snapshot, name: str) -> None:
        system, _ = self.files
        target = self.path(_SNAPSHOTS, snapshot.version, name)
        # Object storage has no folders, and makes nothing here but a bucket that is missing.
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
        system.put_file(str(snapshot.directory / name), target)

    def _named(self) -> str | None:
        try:
            return self.current()
        except CorruptFile:
            return None

    def _name(self, version: str) -> None:
        # Aside first: on a disk a write can stop in the middle, and a rename cannot.
        system, _ = self.files
        system.pipe_file(self.path(_NEXT), f"{version}\n".encode())
        system.mv(self.path(_NEXT), self.path(CURRENT))

    def _there(self) -> dict[str, dict[str, int]]:
        """Size by name of each file of each version that is there, whole or not."""
        with self.answering("read"):
            system, _ = self.files
            system.invalidate_cache()
            folder = self.path(_SNAPSHOTS)
            try:
                found = system.find(folder, detail=True)
            except FileNotFoundError:
                return {}
        there: dict[str, dict[str, int]] = {}
        for path, told in found.items():
            version, _, name = path.removeprefix(f"{folder}/").partition("/")
            if VERSION_PATTERN.fullmatch(version):
                there.setdefault(version, {})[name] = int(told["size"])
        return there

    def _prune(self, current: str, keep: int) -> tuple[str, ...]:
        """Remove all but the newest `keep`, and those that were never finished; `current` always stays."""
        there = self._there()
        whole = sorted((each for each in there if MANIFEST_SHA256 in there[each]), key=number_of)
        kept = {current, *whole[len(whole) - keep :]} if len(whole) > keep else {current, *whole}
        doomed = sorted(set(there) - kept, key=number_of)
        with self.answering("written"):
            system, _ = self.files
            for version in doomed:
                system.rm(self.path(_SNAPSHOTS, version), recursive=True)
        return tuple(doomed)
