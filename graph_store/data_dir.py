"""Where everything of one catalogue lies, and who may write there."""

from __future__ import annotations

import fcntl
import json
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from graph_store.durable import refusing_unwritable
from graph_store.errors import DataDirBusy, WritesHeld

WRITE_TIMEOUT_SECONDS = 10.0
"""How long one write waits for another: many times what one takes."""

_RETRY_SECONDS = 0.002
_NOTE_BYTES = 256


class _Held:
    """The open lock file of one holder."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


# A forked worker inherits the descriptor and with it the lock, which would then outlive a killed parent. So
# every child closes its copies at once. The set is module-wide because fork handlers are process-wide and
# cannot be removed.
_HELD: weakref.WeakSet[_Held] = weakref.WeakSet()


def _close_in_child() -> None:
    for held in list(_HELD):
        held.close()


os.register_at_fork(after_in_child=_close_in_child)


@dataclass(frozen=True)
class DataDir:
    """One data directory. Nothing is created before `create` is called."""

    root: Path

    @property
    def catalog_path(self) -> Path:
        """The SQLite file of images, tags and attributes."""
        return self.root / "catalog.sqlite"

    @property
    def features_dir(self) -> Path:
        """One feature file for each encoder."""
        return self.root / "features"

    @property
    def blobs_dir(self) -> Path:
        """Thumbnails, and originals when they are kept."""
        return self.root / "blobs"

    @property
    def models_dir(self) -> Path:
        """One directory for each trained preset."""
        return self.root / "models"

    @property
    def snapshots_dir(self) -> Path:
        """One immutable directory for each reindex."""
        return self.root / "snapshots"

    @property
    def current_path(self) -> Path:
        """The small file that names the snapshot to serve."""
        return self.root / "CURRENT"

    @property
    def lock_path(self) -> Path:
        """The file that a writer locks."""
        return self.root / "imsage.lock"

    @property
    def write_lock_path(self) -> Path:
        """The file that is locked for the moment of one write."""
        return self.root / "imsage-write.lock"

    def create(self) -> None:
        """Make the directories. Raises Unwritable when that is not possible."""
        with refusing_unwritable(self.root):
            for directory in (
                self.root,
                self.features_dir,
                self.blobs_dir,
                self.models_dir,
                self.snapshots_dir,
            ):
                directory.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def lock(self, purpose: str) -> Iterator[None]:
        """Be the only writer for the length of a `with` block.

        Raises DataDirBusy, which names the process id and purpose of the holder. The kernel drops the lock
        when the process ends in any way, so there is never a stale one to remove by hand. It does not nest:
        taking it twice in one process is refused as well.
        """
        with self._held(self.lock_path, purpose, 0.0):
            yield

    @contextmanager
    def writing(self, purpose: str, timeout: float = WRITE_TIMEOUT_SECONDS) -> Iterator[None]:
        """Be the only one who gives out feature rows, for the moment of one write.

        A running server and a long job (who has the `lock`) take turns by it, batch by batch; readers and
        reindexing are not held up. Waits for its turn; raises WritesHeld, which names the holder, when that
        takes longer than `timeout` seconds.
        """
        with self._held(self.write_lock_path, purpose, timeout, WritesHeld):
            yield

    @property
    def untidy(self) -> bool:
        """Whether a writer may have been cut short since `mark_tidy`, so that there may be left-overs. True
        also while one is at work, and after the machine was started anew: a power cut leaves no note.
        """
        for path in (self.lock_path, self.write_lock_path):
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                if not _is_orderly(_noted(descriptor)):
                    return True
            finally:
                os.close(descriptor)
        return False

    def mark_tidy(self, purpose: str) -> None:
        """Write down that nothing is left over. For the holder of both locks. Raises Unwritable."""
        for path in (self.lock_path, self.write_lock_path):
            with refusing_unwritable(path):
                descriptor = os.open(path, os.O_RDWR)
                try:
                    _note(descriptor, pid=os.getpid(), purpose=purpose, untidy=False)
                finally:
                    os.close(descriptor)

    @contextmanager
    def _held(
        self, path: Path, purpose: str, timeout: float, busy: type[DataDirBusy] = DataDirBusy
    ) -> Iterator[None]:
        with refusing_unwritable(path):
            self.root.mkdir(parents=True, exist_ok=True)
            descriptor, new = _opened(path)
            held = _Held(descriptor)
        _HELD.add(held)
        try:
            if not _locked(held.descriptor, timeout):
                raise busy(
                    f"The data directory {self.root} is in use by {_holder(held.descriptor)}",
                    hint="Wait for it to end, or stop it.",
                )
            with refusing_unwritable(path):
                untidy = not new and not _is_orderly(_noted(held.descriptor))
                _note(held.descriptor, pid=os.getpid(), purpose=purpose, untidy=untidy)
            yield
            # Only after an orderly end: what a killed holder noted stays, and tells the next one. So it does
            # when the end cannot be noted, which is no reason to call what was done undone.
            with suppress(OSError):
                untidy = bool(_noted(held.descriptor).get("untidy", True))
                _note(held.descriptor, **({"untidy": True} if untidy else {"boot": _boot()}))
        finally:
            held.close()


def _locked(descriptor: int, timeout: float) -> bool:
    """Take the lock, waiting for it at most so many seconds. Returns whether it was got."""
    until = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_RETRY_SECONDS)
        else:
            return True


def _holder(descriptor: int) -> str:
    """Who holds the lock, in words; its file may still be empty when the holder has only just taken it."""
    try:
        holder = _noted(descriptor)
        return f"process {int(holder['pid'])} ({holder['purpose']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _opened(path: Path) -> tuple[int, bool]:
    """The lock file, open, and whether it is new."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), True
    except FileExistsError:
        return os.open(path, os.O_RDWR), False


def _is_orderly(noted: dict[str, Any]) -> bool:
    return noted == {"boot": _boot()}


@cache
def _boot() -> str:
    """Which start of the machine this is."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def _noted(descriptor: int) -> dict[str, Any]:
    """What stands in a lock file: who holds it, or how its last holder ended; nothing when that was lost."""
    try:
        return dict(json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return {}


def _note(descriptor: int, **told: Any) -> None:
    """Write over the note that is there; of one length, so that a disk that fills has room for the next."""
    os.pwrite(descriptor, json.dumps(told).encode().ljust(_NOTE_BYTES), 0)
