"""HEAD: what GET would answer, without its body (RFC 9110, section 9.3.2).

Load balancers and link checkers ask with it, and FastAPI's routes do not know it by themselves.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """The innermost layer: the application below answers a HEAD as if it were a GET, and only the head of the
    answer goes out. A stream of events ends with it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        sent = False

        async def send_the_head(message: Message) -> None:
            nonlocal sent
            if message["type"] != "http.response.start":
                return
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            sent = True

        async def receive_until_sent() -> Message:
            return {"type": "http.disconnect"} if sent else await receive()

        # A copy: the server below must go on to see HEAD, or it waits for the bytes that the head tells of.
        below = {**scope, "method": "GET"}
        try:
            await self._app(below, receive_until_sent, send_the_head)
        finally:
            scope["route"] = below.get("route")  # what stands around counts by it
