"""The calls about jobs, as data; and a job as it comes in server-sent events."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from imsage.answers import Job, Jobs
from imsage.calls import Call, answer_as
from imsage.reading import read

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def start(order: Mapping[str, Any], key: str | None) -> Call[Job]:
    """Start a job. With its key the call may be repeated without starting a second one; without one of the
    caller's, a key is drawn. Raises ValueError for what can be no key.
    """
    wanted = {name: value for name, value in order.items() if value is not None}
    return Call("POST", "/v1/jobs", answer_as(Job), json=wanted, headers=_key(key), repeatable=False)


def listing(limit: int, kind: str | None, state: str | None, cursor: str | None) -> Call[Jobs]:
    """The history."""
    given = {"limit": limit, "kind": kind, "state": state, "cursor": cursor}
    params = {name: value for name, value in given.items() if value is not None}
    return Call("GET", "/v1/jobs", answer_as(Jobs), params=params)


def job(job_id: str) -> Call[Job]:
    """How far a job is."""
    return Call("GET", job_path(job_id), answer_as(Job))


def cancel(job_id: str) -> Call[Job]:
    """Stop a job."""
    return Call("POST", job_path(job_id, "/cancel"), answer_as(Job), repeatable=False)


def resume(job_id: str, key: str | None) -> Call[Job]:
    """Go on with a job; the key is as that of `start`."""
    return Call("POST", job_path(job_id, "/resume"), answer_as(Job), headers=_key(key), repeatable=False)


def job_path(job_id: str, part: str = "") -> str:
    """Where a job is, or a part of it."""
    return f"/v1/jobs/{quote(job_id, safe='')}{part}"


class JobEvents:
    """Puts the lines of a stream of server-sent events together to jobs."""

    def __init__(self) -> None:
        self._data: list[str] = []

    def feed(self, line: str) -> Job | None:
        """The job that this line, without its end, completes. Raises ValueError for what is no job."""
        if line.startswith("data:"):
            self._data.append(line.removeprefix("data:").removeprefix(" "))
        if line or not self._data:
            return None
        text, self._data = "\n".join(self._data), []
        return read(Job, json.loads(text))


def _key(key: str | None) -> dict[str, str]:
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise ValueError("idempotency_key must be 1 to 255 printable ASCII characters without spaces")
    return {"Idempotency-Key": secrets.token_hex(16) if key is None else key}
