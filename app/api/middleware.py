"""What happens around every request: id, size limit, security headers, counting, one log line.

Plain ASGI: the wrapped `send` and `receive` cost microseconds, where a middleware with request and response
objects costs more than the answer itself.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time

import structlog
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.metrics import Metrics
from app.api.problems import PROBLEM_TYPE, problem_bytes
from app.api.refusal import refuse, retry_after
from app.request_errors import BodyTooLarge
from graph_store.exhaustion import exhausted

_REFUSED_BEFORE_ROUTING = frozenset({401, 403, 429, 503})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

PAGES = frozenset({"/", "/jobs"})
"""What is opened in a browser; everything else is data."""

PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"

_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_PAGE_HEADERS = (
    (b"content-security-policy", PAGE_POLICY.encode()),
    _NO_SNIFFING,
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_DATA_HEADERS = ((b"content-security-policy", DATA_POLICY.encode()), _NO_SNIFFING)


class Around:
    """The outermost layer of the application. Also the last resort: an unexpected fault becomes a problem
    here.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes
        self._log = structlog.get_logger("imsage.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        request_id = _request_id(scope)
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        status = 0
        path = scope["path"]
        security = _PAGE_HEADERS if path in PAGES or path.startswith("/static/") else _DATA_HEADERS

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                headers.append((b"x-request-id", request_id))
                given = {name for name, _ in headers}
                headers.extend(header for header in security if header[0] not in given)
                message["headers"] = headers
            await send(message)

        try:
            await self._app(scope, self._limited(scope, receive), send_with_headers)
        except Exception as error:
            lacking = exhausted(error)
            if lacking is None:
                self._log.exception("unexpected_error", method=scope["method"], path=scope["path"])
            else:
                self._log.error("exhausted", method=scope["method"], path=scope["path"], reason=str(error))
            if status:
                # The answer has begun, so the connection must break: half an answer must not look whole.
                raise
            if lacking is None:
                await _send_fault(scope, send_with_headers)
            else:
                await refuse(
                    scope, send_with_headers, lacking.status, lacking.code, str(lacking), [retry_after(5)]
                )
        finally:
            # Not before the answer is on its way: the event loop sends what was written when this turn ends.
            ended = time.perf_counter()
            asyncio.get_running_loop().call_soon(self._record, scope, status, ended - start)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        if route is None and status in _REFUSED_BEFORE_ROUTING:
            route = _meant(scope)
        self._metrics.count(scope["method"], getattr(route, "path", "unmatched"), status)
        self._log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 3),
        )

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        limit = self._max_body_bytes
        declared = _content_length(scope)
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            if declared is not None and declared > limit:
                raise _too_large(limit)
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise _too_large(limit)
            return message

        return receive_within_limit


def _meant(scope: Scope) -> BaseRoute | None:
    """The route that a request would have had, though perhaps by another method."""
    found: BaseRoute | None = None
    routes: list[BaseRoute] = scope["app"].routes
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return route
        if match is Match.PARTIAL and found is None:
            found = route
    return found


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The body is larger than {limit} bytes", hint="The setting max_body_bytes is the limit."
    )


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            given: bytes = value
            return given
    return secrets.token_hex(12).encode()


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else None
    return None


async def _send_fault(scope: Scope, send: Send) -> None:
    detail = "Something went wrong inside the service. Its log says more under this request id."
    body = problem_bytes(scope["path"], "internal-error", 500, detail)
    headers = [(b"content-type", PROBLEM_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
