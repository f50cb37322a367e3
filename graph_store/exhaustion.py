"""No memory, file handles or threads are left: how Python and the libraries under it say so."""

from __future__ import annotations

import errno
import os
import re

from graph_store.errors import Exhausted

MEMORY, HANDLES, THREADS = "memory", "file handles", "threads"

_HANDLES_OF_A_DATABASE = 4
"""The file, its log, the log's index, and the directory when they are made."""

_HINTS = {
    MEMORY: "Give it more memory, or smaller pictures and fewer calls at once.",
    HANDLES: "Raise the limit of open files (ulimit -n).",
    THREADS: "Raise the limit of processes and threads (ulimit -u), or give it more memory.",
}
_ERRNO = {errno.ENOMEM: MEMORY, errno.EMFILE: HANDLES, errno.ENFILE: HANDLES}
_WORDS = (
    # PyTorch, FAISS and ONNX Runtime have no error class of their own for it.
    (MEMORY, re.compile(r"bad_alloc|bad allocation|can.t allocate memory|cannot allocate memory", re.I)),
    (MEMORY, re.compile(r"failed to allocate|out of memory", re.I)),
    (HANDLES, re.compile(r"too many open files", re.I)),
    (THREADS, re.compile(r"can.t start new thread|resource temporarily unavailable", re.I)),
)


def exhausted(error: BaseException) -> Exhausted | None:
    """What a user is told when `error`, or one that it came from, says that something has run out; else
    None.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, Exhausted):
            return cause
        what = _run_out(cause)
        if what is not None:
            return _lacking(what)
        cause = cause.__cause__ or cause.__context__
    return None


def refused_by_the_system(error: BaseException) -> Exhausted | None:
    """The same, but only for what the operating system has refused: reading a damaged file may ask for any
    amount of memory, which says something about the file.
    """
    words = str(error).lower()
    told = any(os.strerror(number).lower() in words for number in _ERRNO)
    return exhausted(error) if told else None


def handles_are_left() -> bool:
    """Whether as many files can be opened as SQLite needs for one database: it does not say why it could
    not.
    """
    opened: list[int] = []
    try:
        for _ in range(_HANDLES_OF_A_DATABASE):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True


def no_memory_left() -> Exhausted:
    """What is told when no memory can be had any more."""
    return _lacking(MEMORY)


def no_handles_left() -> Exhausted:
    """What is told when no file can be opened any more."""
    return _lacking(HANDLES)


def _lacking(what: str) -> Exhausted:
    return Exhausted(f"This process gets no more {what}", hint=_HINTS[what])


def _run_out(error: BaseException) -> str | None:
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0)
    if isinstance(error, Exception):
        return next((what for what, words in _WORDS if words.search(str(error))), None)
    return None
