"""The keys that a running service knows: as they are in the file, also when that changes."""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from app.keys import ApiKey, matching, read_keys
from graph_store.errors import CorruptFile

_LOOK_EVERY_SECONDS = 0.5


class KeyRing:
    """Keys of one file. A key that is made or revoked counts half a second later, without a restart."""

    def __init__(self, path: Path, *, required: bool) -> None:
        """Raises CorruptFile: a service does not start open because its keys cannot be read."""
        self._path = path
        self._required = required
        self._seen = self._signature()
        self._keys = read_keys(path)
        self._unreadable = False
        self._gone = False
        self._looked = time.monotonic()

    @property
    def closed(self) -> bool:
        """Whether a key is needed: when there is one, there are keys that cannot be read, there were some
        before their file was gone, or the setting require_keys says so.
        """
        now = time.monotonic()
        if now - self._looked > _LOOK_EVERY_SECONDS:
            self._looked = now
            self.look()
        return self._required or self._unreadable or bool(self._keys)

    def find(self, presented: bytes) -> ApiKey | None:
        """The key that was presented, None when it is not known."""
        return matching(self._keys, presented)

    def look(self) -> None:
        """Take in the file where it has changed."""
        signature = self._signature()
        if signature == self._seen:
            self._unreadable = self._gone = False
            return
        if signature is None and self._keys:
            # As when a disk is taken away. That lets nobody in; to revoke the last key does.
            if not self._gone:
                structlog.get_logger().error("keys_gone", path=str(self._path))
            self._gone = True
            return
        try:
            keys = read_keys(self._path)
            if self._signature() != signature:
                return  # it has changed under our hands, and is looked at once more
            self._keys, self._seen = keys, signature
            self._unreadable = self._gone = False
        except CorruptFile as error:
            # Those known before still count. Where none were, somebody has just made some: nobody is let in.
            self._unreadable = True
            structlog.get_logger().error("keys_unreadable", reason=str(error))

    def _signature(self) -> tuple[int, int, int] | str | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return str(error)
        return stat.st_mtime_ns, stat.st_ino, stat.st_size
