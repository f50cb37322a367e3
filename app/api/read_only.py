"""A replica takes no writes: what changes something is refused before it reaches any route."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.access import needed_scope
from app.api.refusal import refuse

_DETAIL = "This server is a replica and takes no writes. Send them to the server that publishes."


class ReadOnly:
    """Lets through what only looks, as keys with the scope read may. Plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and needed_scope(scope["method"], scope["path"]) == "write":
            await refuse(scope, send, 403, "read-only-replica", _DETAIL)
            return
        await self._app(scope, receive, send)
