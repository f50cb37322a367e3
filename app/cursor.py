"""Where the next page of an answer starts: opaque, pinned to one snapshot and to one question.

A cursor says how deep a search has to go and what it leaves out, so one that was made up could ask for any
amount of work. Each carries a keyed checksum (HMAC-SHA256, 128 bits), whose key all have who serve the
snapshot.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import orjson

MAX_DEPTH = 10_000
"""No cursor leads past this many results: by then the question was the wrong one, and each page costs the
ones before.
"""


_CHECKSUM_BYTES = 16


class BadCursor(ValueError):
    """The text is no cursor of this service, or it belongs to another question."""


@dataclass(frozen=True)
class Position:
    """How far a list of results has been read.

    `seen` results were returned before, the lowest with `score`; `near` are the rows of those that scored so
    close to it that noise could move them behind it. What has a lower score and is not near comes next: a
    position by value, so a page neither repeats nor skips a result when equal scores come in another order
    at another depth. `near` is all that was shown, in order, where a later page has to know it: of an
    approximate index, which may find better ones at a greater depth; where near copies are folded; and with
    diversity, out of a pool of `pool` candidates, of which `score` is then the lowest.
    """

    seen: int
    score: float = 0.0
    near: tuple[int, ...] = ()
    pool: int = 0


@dataclass(frozen=True)
class Cursor:
    """A position in the answer to one question, from one snapshot.

    `version` is the snapshot's, `question` the fingerprint of the request without limit, cursor and explain.
    """

    version: str
    question: str
    position: Position

    def encode(self, key: bytes) -> str:
        """The text that goes to the client. key: of the snapshot."""
        at = self.position
        fields = orjson.dumps([self.version, self.question, at.seen, at.score, at.near, at.pool])
        return base64.urlsafe_b64encode(_checksum(fields, key) + fields).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """What it says; whether that is true is for `check_seal` to say, with the key of the snapshot that it
        names. Raises BadCursor.
        """
        try:
            version, question, seen, score, near, pool = orjson.loads(_bytes_of(text)[_CHECKSUM_BYTES:])
        except (binascii.Error, ValueError, TypeError) as error:
            raise _not_ours() from error
        if not (
            isinstance(version, str)
            and isinstance(question, str)
            and isinstance(score, float)
            and isinstance(near, list)
            and all(_is_whole(number) for number in (seen, pool, *near))
            and 0 < seen <= MAX_DEPTH
            and pool <= MAX_DEPTH
        ):
            raise _not_ours()
        return cls(version, question, Position(seen, score, tuple(near), pool))


def check_seal(text: str, key: bytes) -> None:
    """Raises BadCursor unless the cursor, which has been decoded, was made with the key."""
    raw = _bytes_of(text)
    if not hmac.compare_digest(raw[:_CHECKSUM_BYTES], _checksum(raw[_CHECKSUM_BYTES:], key)):
        raise _not_ours()


def _bytes_of(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _checksum(fields: bytes, key: bytes) -> bytes:
    return hmac.digest(key, fields, "sha256")[:_CHECKSUM_BYTES]


def _not_ours() -> BadCursor:
    return BadCursor("this is not a cursor of this service")


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63


def fingerprint(*parts: bytes) -> str:
    """A short name of a question; parts are its body and, for an upload, the picture's bytes."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
