"""Disks that are full or read-only, and a process that gets no more memory or files: for real."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FILLER = "filler"


@contextmanager
def small_file_system(place: Path, size: str) -> Iterator[Path]:
    """A real file system of that size at `place`, where the machine allows to mount one; else the test is
    skipped.
    """
    place.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder cannot be written to, not even by root, for the length of a `with` block."""
    _mount("--bind", str(folder), str(folder))
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(place: Path, leave: int) -> None:
    """Take all room of a small file system but so many bytes (whole pages); again, to change how many."""
    page = 4096
    (place / FILLER).unlink(missing_ok=True)
    free = shutil.disk_usage(place).free
    with (place / FILLER).open("wb") as filler:
        for _ in range(max(0, free - leave) // page):
            filler.write(bytes(page))


def empty(place: Path) -> None:
    """Take what `fill` wrote away again."""
    (place / FILLER).unlink()


@contextmanager
def few_handles(more: int) -> Iterator[None]:
    """At most so many more files can be opened by this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    # A new file gets the lowest free number, and the limit is one of numbers.
    free = [number for number in range(len(used) + more + 1) if number not in used]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[more], hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def as_nobody() -> Iterator[None]:
    """With the rights of a user who owns nothing. Root would be allowed everything; whoever is not root stays
    who they are.
    """
    if os.geteuid() != 0:
        yield
        return
    _become(65534)
    try:
        yield
    finally:
        _become(0)


_SETRESUID = {"x86_64": 117, "aarch64": 147}
"""Numbers of the system call, which the C library makes in all threads at once."""


def _become(user: int) -> None:
    """In this thread and those it starts: servers that other tests share keep their rights."""
    number = _SETRESUID.get(platform.machine())
    if number is None:
        os.seteuid(user)
    elif ctypes.CDLL(None, use_errno=True).syscall(number, -1, user, -1) != 0:
        raise OSError(ctypes.get_errno(), f"cannot become user {user}")


def _mount(*arguments: str) -> None:
    if shutil.which("mount") is None:
        pytest.skip("this machine has no mount command")
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting a file system is not permitted here")
