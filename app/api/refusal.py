"""Problems that are sent before a request reaches any route."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Scope, Send

from app.api.problems import PROBLEM_TYPE, problem_bytes


async def refuse(
    scope: Scope,
    send: Send,
    status: int,
    code: str,
    detail: str,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Answer a request with a problem."""
    body = problem_bytes(scope["path"], code, status, detail)
    length = str(len(body)).encode()
    sent = [(b"content-type", PROBLEM_TYPE.encode()), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


def retry_after(seconds: int) -> tuple[bytes, bytes]:
    """The header that says when to come again."""
    return b"retry-after", str(seconds).encode()
