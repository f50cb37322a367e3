"""Writing so that a kill or a power cut leaves the old file or the new one, never half of it.

A rename is durable only when the file was fsynced before it and its directory after it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from graph_store.errors import Unwritable

_FEW_PAGES = 64 * 1024

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "something else is already there",
    errno.ENOENT: "its directory does not exist",
}


@contextmanager
def refusing_unwritable(path: Path) -> Iterator[None]:
    """Turn a full disk or a read-only place into `Unwritable`, which says so about `path`; other errors
    pass.
    """
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if error.errno is None and re.fullmatch(r"\d+ requested and \d+ written", str(error)):
            reason = "the disk is full"  # as numpy says it
        if reason is None:
            raise
        raise Unwritable(
            f"Cannot write {path}: {reason}", hint="Free space or choose another data directory."
        ) from error


def remove_aside(directory: Path) -> None:
    """Remove a directory that has its temporary name already. What is left of it because somebody maps its
    files (NFS keeps those under another name) is for the next writer, who tries again.
    """
    try:
        shutil.rmtree(directory)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EBUSY):
            raise


def disk_is_full(path: Path) -> bool:
    """Whether the disk on which `path` lies, or is to lie, has no room for a few pages."""
    return shutil.disk_usage(path.parent).free < _FEW_PAGES


def fsync_file(path: Path) -> None:
    """Wait until the bytes of the file are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_dir(path: Path) -> None:
    """Wait until the names in the directory (created, renamed, removed) are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_like(descriptor: int, like: Path) -> None:
    """Give an open file the owner and the mode of `like`, as far as this user and the file system let it.
    Nobody may execute it, nor everybody write it.
    """
    told = like.stat()
    with suppress(OSError):
        os.fchown(descriptor, told.st_uid, told.st_gid)
    with suppress(OSError):
        os.fchmod(descriptor, stat.S_IMODE(told.st_mode) & 0o664)


def write_bytes(path: Path, data: bytes, like: Path | None = None) -> None:
    """Put `data` at `path`, durably and in one step: a reader sees the old bytes or the new ones. like: whose
    owner and mode the file gets; without it they are those of the process.
    """
    # The process id keeps two writers from sharing one temporary file; the lock on the data directory is
    # theirs to take.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with refusing_unwritable(path):
        try:
            with temporary.open("wb") as file:
                if like is not None:
                    give_like(file.fileno(), like)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_dir(path.parent)
