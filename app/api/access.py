"""Who may do what: API keys, by method and path, so that a call that is added is covered as well."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.local_names import LocalNames
from app.api.refusal import refuse
from app.key_ring import KeyRing
from app.keys import Scope as KeyScope

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = b"bearer "


def needed_scope(method: str, path: str) -> KeyScope | None:
    """What a call needs; None for the page, its files, the probes and the API's description.

    Under /v1, what only looks needs `read`: GET, and the questions that are asked by POST. All else needs
    `write`.
    """
    if path == "/metrics":
        return "read"
    if not path.startswith("/v1/"):
        return None
    if method in _READING or is_question(path):
        return "read"
    return "write"


def is_question(path: str) -> bool:
    """Whether a call by POST is a search or a prediction, which changes nothing."""
    return path == "/v1/search" or path.startswith("/v1/search/") or path == "/v1/tags/predict"


class Access:
    """Lets through what needs no key, or comes with one of the needed scope. Plain ASGI.

    A browser says of each request whether a page of another site made it (Fetch Metadata, W3C). One that
    writes or asks is refused where no keys are needed, unless the page's origin is among `origins`: else
    whatever page somebody visits could write to the service on their own machine, or keep it busy. Nor are
    calls answered there that go to another than `names`.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, names: LocalNames, origins: Sequence[str] = ()) -> None:
        self._app = app
        self._ring = ring
        self._names = names
        self._origins = {origin.encode() for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self._ring.closed:
            called = _header(scope, b"host")
            if not self._names.include(called):
                shown = (called or b"")[:100].decode("latin-1")
                detail = (
                    "Without keys this service answers to localhost, names without a dot and addresses, and "
                    f"not to {shown!r}: make a key, or name its origin in the setting cors_origins."
                )
                await refuse(scope, send, 403, "cross-site", detail)
                return
            if scope["method"] not in _READING and self._is_from_elsewhere(scope):
                detail = "A page of another site may not call this: the setting cors_origins lets one in."
                await refuse(scope, send, 403, "cross-site", detail)
                return
            await self._app(scope, receive, send)
            return
        needed = needed_scope(scope["method"], scope["path"])
        if needed is None:
            await self._app(scope, receive, send)
            return
        presented = _bearer_token(scope)
        if presented is None:
            detail = "This call needs an API key: send the header Authorization: Bearer KEY."
            await refuse(scope, send, 401, "unauthorized", detail, [_challenge("")])
            return
        key = self._ring.find(presented)
        if key is None:
            detail = "This API key is not known: it may have been revoked."
            await refuse(scope, send, 401, "unauthorized", detail, [_challenge(', error="invalid_token"')])
            return
        if not key.allows(needed):
            detail = f"The API key {key.name!r} may not {needed}: this call needs the scope {needed!r}."
            challenge = _challenge(f', error="insufficient_scope", scope="{needed}"')
            await refuse(scope, send, 403, "insufficient-scope", detail, [challenge])
            return
        scope["imsage.key"] = key.name
        structlog.contextvars.bind_contextvars(key=key.name)
        await self._app(scope, receive, send)

    def _is_from_elsewhere(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        if headers.get(b"sec-fetch-site") not in (b"cross-site", b"same-site"):
            return False
        return b"*" not in self._origins and headers.get(b"origin") not in self._origins


def _header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of that name."""
    return next((value for each, value in scope["headers"] if each == name), None)


def _bearer_token(scope: Scope) -> bytes | None:
    given = _header(scope, b"authorization")
    if given is None or given[: len(_BEARER)].lower() != _BEARER:
        return None
    return given[len(_BEARER) :].strip()


def _challenge(more: str) -> tuple[bytes, bytes]:
    return b"www-authenticate", f'Bearer realm="imsage"{more}'.encode()
