"""What is raised when a call does not succeed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx


@dataclass(frozen=True)
class Wrong:
    """One wrong part of a request: a JSON pointer to it, and what is wrong there."""

    pointer: str
    detail: str


class ImsageError(Exception):
    """A call did not succeed. The fields are those of the server's problem (RFC 9457).

    `status` is the HTTP status, 0 when there was no answer at all. `type` is a stable name such as
    `urn:imsage:problem:not-found`, `errors` the wrong parts of the request. `request_id` is what the server's
    log has the request under.
    """

    def __init__(
        self,
        *,
        type: str,
        title: str,
        status: int,
        detail: str,
        instance: str = "",
        errors: tuple[Wrong, ...] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(type, title, status, detail)
        self.type = type
        self.title = title
        self.status = status
        self.detail = detail
        self.instance = instance
        self.errors = errors
        self.request_id = request_id

    def __reduce__(self) -> tuple[partial[ImsageError], tuple[()]]:
        """Errors are sent between processes, and Python would make this one anew from its arguments by
        position, of which it has none.
        """
        fields: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": self.instance,
            "errors": self.errors,
            "request_id": self.request_id,
        }
        return partial(type(self), **fields), ()

    def __str__(self) -> str:
        wrong = "".join(f"; {one.pointer}: {one.detail}" for one in self.errors)
        return f"{self.status} {self.title}: {self.detail}{wrong}" if self.status else self.detail


def error_of(response: httpx.Response) -> ImsageError:
    """The error that a response of status 400 or above stands for, also where a proxy wrote it."""
    try:
        body = response.json()
        told = body if isinstance(body, dict) else {}
    except ValueError:
        told = {}
    errors = told.get("errors")
    return ImsageError(
        type=str(told.get("type", "about:blank")),
        title=str(told.get("title", response.reason_phrase)),
        status=response.status_code,
        detail=str(told.get("detail", response.text[:500] or response.reason_phrase)),
        instance=str(told.get("instance", response.url.path)),
        errors=tuple(
            Wrong(str(one.get("pointer", "")), str(one.get("detail", "")))
            for one in (errors if isinstance(errors, list) else [])
            if isinstance(one, dict)
        ),
        request_id=response.headers.get("x-request-id"),
    )


def unreachable(error: httpx.RequestError, url: httpx.URL) -> ImsageError:
    """The error for a server that did not answer."""
    if isinstance(error, httpx.LocalProtocolError):
        # Its words repeat what it found wrong, which may be a header with a secret in it.
        detail = f"The request to {url} was not sent: it breaks the rules of HTTP"
    else:
        detail = f"There was no answer from {url}: {error or type(error).__name__}"
    return ImsageError(
        type="urn:imsage:problem:unreachable",
        title="Unreachable",
        status=0,
        detail=detail,
        instance=url.path,
    )
