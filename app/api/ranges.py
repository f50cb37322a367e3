"""Parts of files: one range of bytes, or the whole.

Starlette answers a `Range` that it cannot read with 400 and one beyond the file with 416, both as plain text.
RFC 9110 (section 14.2) has a server pass over what it does not understand, and lets it pass over several
ranges at once, which nobody needs of a picture: so one good range is served, one beyond the file is a
problem, and all else gets the whole.
"""

from __future__ import annotations

import re

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

_ONE_RANGE = re.compile(r"bytes=\s*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))\s*", re.IGNORECASE)


def range_fits(asked: str, size: int) -> bool | None:
    """Whether a file of `size` bytes has something of the range that a header asks for; None for a header
    that is to be passed over.
    """
    found = _ONE_RANGE.fullmatch(asked)
    if found is None:
        return None
    first, last, of_the_end = found.groups()
    if of_the_end is not None:
        return size > 0 and int(of_the_end) > 0
    if last is not None and int(last) < int(first):
        return None
    return int(first) < size


def without_range(scope: Scope) -> Scope:
    """The same request, for the whole."""
    return {**scope, "headers": [header for header in scope["headers"] if header[0] != b"range"]}


class WholeFile(FileResponse):
    """A file, whole, whatever range is asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await super().__call__(without_range(scope), receive, send)
