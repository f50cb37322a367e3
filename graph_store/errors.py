"""Every error that a user may meet, each with a stable code and the HTTP status it maps to.

A message is one plain sentence that names the thing that is wrong. A hint, where there is one, says what to
do about it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar


class ImsageError(Exception):
    """Base of all errors that are shown to a user as one line rather than as a traceback."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.message.rstrip('.')}. {self.hint}" if self.hint else self.message
        return " ".join(text.split())


class BadInput(ImsageError):
    """What the user gave cannot be used: a broken picture, a NaN feature, a wrong dimension."""

    code = "bad-input"
    status = 422


class WrongUsage(BadInput):
    """An option or a setting has a value that it cannot have, whatever the files hold."""


class NotFound(ImsageError):
    """An image, job or snapshot of that name does not exist."""

    code = "not-found"
    status = 404


class UnknownName(ImsageError):
    """An encoder, preset or option of that name does not exist; the hint lists those that do."""

    code = "unknown-name"
    status = 422


class DataDirBusy(ImsageError):
    """Another process writes to the data directory."""

    code = "data-directory-busy"
    status = 409


class WritesHeld(DataDirBusy):
    """Another process lets nobody write, and goes on doing so for longer than a write waits. It is over some
    time: the same write may then be made.
    """

    status = 503


class NothingToServe(ImsageError):
    """There is no snapshot, or nothing that could make one."""

    code = "nothing-to-serve"
    status = 503


class CorruptFile(ImsageError):
    """A file is truncated, altered or not what its name says. `path` names it."""

    code = "corrupt-file"
    status = 500

    def __init__(self, message: str, *, path: Path, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path

    def __reduce__(self) -> tuple[partial[CorruptFile], tuple[()]]:
        """Errors are sent between processes, and Python would make this one anew without its `path`."""
        return partial(type(self), self.message, path=self.path, hint=self.hint), ()


class EncoderMismatch(ImsageError):
    """Features were made by another encoder than the one at hand."""

    code = "encoder-mismatch"
    status = 409


class EncoderMissing(ImsageError):
    """The weights or the code of an encoder are not there, or cannot be loaded."""

    code = "encoder-missing"
    status = 503


class EmptyQuery(ImsageError):
    """The parts of a query cancel each other, so there is no direction to search in."""

    code = "empty-query"
    status = 422


class Unwritable(ImsageError):
    """The data directory cannot be written: the disk is full or it is read-only."""

    code = "unwritable"
    status = 507


class Exhausted(ImsageError):
    """The machine, or a limit set for this process, has no more memory, file handles or threads to give."""

    code = "exhausted"
    status = 503
