"""How long a call may take, how many may wait at once, and how often one client may ask.

Each server process counts for itself: what is shared between processes would cost every call more than the
limits are worth.
"""

from __future__ import annotations

import asyncio
import math
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.refusal import refuse, retry_after

_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})
_BURST_SECONDS = 10.0
_MOST_CLIENTS = 10_000


class Rate:
    """So many calls a second for each client, with bursts of ten seconds' worth (the generic cell rate
    algorithm).

    For each client only the time is kept at which its burst will be paid back.
    """

    def __init__(self, a_second: float) -> None:
        self._cost = 1.0 / a_second
        self._burst = max(_BURST_SECONDS, self._cost)
        self._paid_back: dict[str, float] = {}

    def wait(self, client: str, now: float) -> float:
        """Seconds until this client may ask; 0 when it may now, which is then counted. now: seconds that only
        grow.
        """
        begin = max(self._paid_back.get(client, now), now)
        over = begin + self._cost - now - self._burst
        if over > 1e-9:
            return over
        if len(self._paid_back) >= _MOST_CLIENTS and client not in self._paid_back:
            self._paid_back = {name: paid for name, paid in self._paid_back.items() if paid > now}
            if len(self._paid_back) >= _MOST_CLIENTS:
                self._paid_back.clear()
        self._paid_back[client] = begin + self._cost
        return 0.0


class Limits:
    """Refuses calls under /v1 that are too many, and ends those whose answer does not begin in time."""

    def __init__(self, app: ASGIApp, *, seconds: float, at_once: int, rate: float) -> None:
        self._app = app
        self._seconds = seconds
        self._at_once = at_once
        self._rate = Rate(rate) if rate else None
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        if self._rate is not None:
            seconds = self._rate.wait(_client(scope), time.monotonic())
            if seconds:
                detail = "This client asks more often than the setting rate_limit allows."
                come_again = [retry_after(math.ceil(seconds))]
                await refuse(scope, send, 429, "too-many-requests", detail, come_again)
                return
        if scope["method"] in _LOOKING:
            await self._in_time(scope, receive, send)
            return
        if self._under_way >= self._at_once:
            detail = f"{self._under_way} calls are being answered already (the setting max_concurrent)."
            await refuse(scope, send, 503, "too-busy", detail, [retry_after(1)])
            return
        self._under_way += 1
        try:
            await self._in_time(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        try:
            async with asyncio.timeout(self._seconds) as deadline:

                async def send_in_time(message: Message) -> None:
                    nonlocal begun
                    if not begun:
                        begun = True
                        # An answer that has begun may go on for long: a file, the events of a job.
                        deadline.reschedule(None)
                    await send(message)

                await self._app(scope, receive, send_in_time)
        except TimeoutError:
            if begun or not deadline.expired():
                raise
            detail = f"The answer was not ready within {self._seconds:g} s (the setting request_timeout)."
            await refuse(scope, send, 503, "timeout", detail, [retry_after(5)])


def _client(scope: Scope) -> str:
    """The name of the key where there are keys, or else the address of the other end."""
    key = scope.get("imsage.key")
    if key is not None:
        return f"key {key}"
    address = scope.get("client")
    return str(address[0]) if address else ""
