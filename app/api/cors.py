"""Cross-origin requests: Starlette's rules, whose refusals are problems as all errors are."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.problems import PROBLEM_TYPE, problem_bytes

_OF_THE_BODY = ("content-length", "content-type")


class Cors(CORSMiddleware):
    """A preflight that is refused says so in `application/problem+json`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await super().__call__(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "origin" not in headers or "access-control-request-method" not in headers:
            await super().__call__(scope, receive, send)
            return
        response = self.preflight_response(headers)
        if response.status_code >= 400:
            detail = bytes(response.body).decode()
            kept = {name: value for name, value in response.headers.items() if name not in _OF_THE_BODY}
            response = Response(
                problem_bytes(scope["path"], "bad-request", response.status_code, detail),
                status_code=response.status_code,
                headers=kept,
                media_type=PROBLEM_TYPE,
            )
        await response(scope, receive, send)
