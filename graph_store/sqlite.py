"""SQLite connections for many threads, and SQLite's failures in the words of this project."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graph_store.durable import disk_is_full
from graph_store.errors import BadInput, CorruptFile, DataDirBusy, Unwritable
from graph_store.exhaustion import handles_are_left, no_handles_left, no_memory_left

_FULL_OR_READ_ONLY = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
}
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_TEXT = "Could not decode to UTF-8"
_NO_TABLE_OF_OURS = ("no such column", "no such table")
_BUSY_TIMEOUT_SECONDS = 30.0
_READ_ONLY_TIMEOUT_SECONDS = 5.0
_READ_ONLY_PAUSE_SECONDS = 0.01


@contextmanager
def translating_errors(path: Path) -> Iterator[None]:
    """Raise CorruptFile, Unwritable, DataDirBusy or BadInput in place of what SQLite raises about `path`."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise BadInput(f"The text {error.object[:60]!r} is not valid Unicode") from error
    except OverflowError as error:
        raise BadInput("A number does not fit into 64 bits") from error
    except json.JSONDecodeError as error:
        # Only JSON is ever written.
        raise damaged(path, f"a value in it is no JSON any more ({error})") from error
    except UnicodeDecodeError as error:
        # Not even SQLite's own complaint can be read: it quotes what is damaged.
        raise damaged(path, "a text in it is not valid Unicode") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the code without its detail
        if code in _CORRUPT:
            raise damaged(path, str(error)) from error
        if str(error).startswith((_NO_TEXT, *_NO_TABLE_OF_OURS)):
            # Only Unicode is ever written, and no column is ever asked for that was not made. What may follow
            # is the text itself, which is no text for a message.
            raise damaged(path, str(error).partition(" with text ")[0]) from error
        if code == sqlite3.SQLITE_CANTOPEN and not handles_are_left():
            raise no_handles_left() from error
        if code == sqlite3.SQLITE_IOERR and disk_is_full(path):
            code = sqlite3.SQLITE_FULL
        elif getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMMAP:
            raise no_memory_left() from error
        if code in _FULL_OR_READ_ONLY:
            raise Unwritable(f"Cannot write {path}: {_FULL_OR_READ_ONLY[code]} ({error})") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise DataDirBusy(
                f"{path} is locked by another process", hint="Try again when it has ended."
            ) from error
        raise


def damaged(path: Path, detail: str) -> CorruptFile:
    """The error for a database file that cannot be read."""
    return CorruptFile(
        f"The catalogue {path} is damaged: {detail}", path=path, hint="Restore it from a copy or ingest anew."
    )


class _Link:
    """Owns one connection and closes it when its thread ends. `immutable`: it only reads, and takes the file
    for one that nobody writes to. `brief`: it was opened while we could write nothing, but others may write.
    """

    def __init__(self, connection: sqlite3.Connection, *, immutable: bool, brief: bool) -> None:
        self.connection = connection
        self.immutable = immutable
        self.brief = brief

    def close(self) -> None:
        self.connection.close()

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()


class Connections:
    """One connection to one database for each thread that asks, all in WAL mode with synchronous=FULL.

    In WAL mode readers see the last committed state while a writer works. With synchronous=FULL a commit
    that returned survives a power cut.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._links: weakref.WeakSet[_Link] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._read_only = False
        self._closed = False

    def connect(self) -> sqlite3.Connection:
        """A new connection, the caller's to close. A read-only directory is opened for reading."""
        return self._connect()[0]

    def _connect(self) -> tuple[sqlite3.Connection, bool]:
        """A new connection, and whether it can only read."""
        if self._read_only and not self._writable():
            return self._open("mode=ro&immutable=1"), True
        try:
            connection = self._open("mode=rw")
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            wal = self.path.with_name(self.path.name + "-wal")
            # WAL needs a file beside the database even to read. Where none can be made, nobody can write
            # either, so the file may be read as it is, unless commits wait in a left-over WAL.
            full = code == sqlite3.SQLITE_IOERR and disk_is_full(self.path)
            refused = full or code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if not refused or not self.path.exists() or not handles_are_left():
                raise
            if wal.exists() and wal.stat().st_size > 0:
                raise
            connection = self._open("mode=ro&immutable=1")
            self._read_only = True
            return connection, True
        self._read_only = False
        return connection, False

    def _writable(self) -> bool:
        """Whether the directory lets itself be written to, as it may again after a repair."""
        return os.access(self.path.parent, os.W_OK) and os.access(self.path, os.W_OK)

    def _open(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{mode}",
            uri=True,
            timeout=_BUSY_TIMEOUT_SECONDS,
            isolation_level=None,  # transactions are begun by hand, in `write` and `read`
            check_same_thread=False,  # `close` is called from any thread
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def mine(self) -> sqlite3.Connection:
        """The connection of the calling thread."""
        link: _Link | None = getattr(self._local, "link", None)
        if self._closed:
            raise ValueError("the catalogue is closed")
        if link is None or (link.immutable and self._writable()):
            connection, immutable = self._connect()
            link = _Link(connection, immutable=immutable, brief=not immutable and not self._writable())
            self._local.link = link
            with self._guard:
                self._links.add(link)
        return link.connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that sees one state of the database, whatever is committed meanwhile."""
        with translating_errors(self.path):
            connection = self.mine()
            if connection.in_transaction:  # inside `write` of the same thread: its own state is what it wants
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._let_go_if_brief()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is committed, durably, when the block ends, and undone when it raises."""
        with self._writing, translating_errors(self.path):
            connection = self._begun_to_write()
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._let_go_if_brief()

    def _begun_to_write(self) -> sqlite3.Connection:
        """This thread's connection inside a transaction that may write."""
        deadline = time.monotonic() + _READ_ONLY_TIMEOUT_SECONDS
        while True:
            connection = self.mine()
            try:
                connection.execute("BEGIN IMMEDIATE")
                return connection
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                    raise
                # It was opened while nothing could be written, and stays so. A new one tells how it is now,
                # once the reads of other threads that began at that time have ended.
                self._local.link = None
                if not self._writable() or time.monotonic() > deadline:
                    raise
            time.sleep(_READ_ONLY_PAUSE_SECONDS)

    def _let_go_if_brief(self) -> None:
        """Close this thread's connection if it was opened while nothing could be written: all connections of
        a process share one map of the WAL, so one that can only read would keep later ones from writing.
        """
        link: _Link | None = getattr(self._local, "link", None)
        if link is not None and link.brief:
            self._local.link = None
            link.close()

    def close(self) -> None:
        """Close the connections of all threads. Using them afterwards is an error."""
        self._closed = True
        with self._guard:
            for link in list(self._links):
                link.close()
