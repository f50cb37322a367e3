"""Requests that cannot be answered, with JSON pointers to the parts of the body that are wrong."""

from __future__ import annotations

from collections.abc import Sequence

from graph_store.errors import ImsageError


class RequestError(ImsageError):
    """Base: `errors` holds (pointer, what is wrong there) for each wrong part."""

    def __init__(self, message: str, *, hint: str = "", errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message, hint=hint)
        self.errors = tuple(errors)


class InvalidRequest(RequestError):
    """A field is missing, unknown, of the wrong type or out of bounds."""

    code = "invalid-request"
    status = 422

    @classmethod
    def at(cls, pointer: str, detail: str) -> InvalidRequest:
        """One wrong part."""
        return cls("The request is not valid", errors=[(pointer, detail)])


class UnusablePicture(RequestError):
    """The bytes that a query carries are no picture that can be used."""

    code = "bad-input"
    status = 422


class OutOfTime(RequestError):
    """A part of the request for which the time that the whole one has did not suffice."""

    code = "timeout"
    status = 503


class UnknownImage(RequestError):
    """A query names a picture that the catalogue does not have."""

    code = "not-found"
    status = 404


class SettingOff(RequestError):
    """A part of the service that this server's settings leave off."""

    code = "setting-off"
    status = 403


class CursorGone(RequestError):
    """The cursor is pinned to a snapshot that is no longer there."""

    code = "cursor-gone"
    status = 410


class BodyTooLarge(RequestError):
    """The body has more bytes than the setting allows."""

    code = "body-too-large"
    status = 413


class UnsupportedMediaType(RequestError):
    """The body is not of the type that this call takes."""

    code = "unsupported-media-type"
    status = 415


class Unreadable(RequestError):
    """The body is not what its type says it is."""

    code = "bad-request"
    status = 400


class QueryOfBatch(ImsageError):
    """What is wrong with one query of a batch."""

    def __init__(self, number: int, cause: ImsageError) -> None:
        super().__init__(f"Query {number} of the batch: {cause.message}", hint=cause.hint)
        self.cause = cause
        self.prefix = f"/queries/{number}"
