"""The curl lines of a page, as the calls that they make."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import httpx

HOST_SHOWN = "localhost:8000"


@dataclass
class CurlCall:
    """One call: what stands behind the options of a line."""

    method: str = "GET"
    target: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    form: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where it goes, without the question mark and what follows."""
        return self.target.partition("?")[0]

    def send(self, address: str, folder: Path) -> httpx.Response:
        """The answer of the server at `address`; files (`@name`) lie in `folder`."""
        parts = {
            name: (value[1:], (folder / value[1:]).read_bytes())
            if value.startswith("@")
            else (None, value.encode())
            for name, value in self.form.items()
        }
        return httpx.request(
            self.method,
            address + self.target,
            headers=self.headers,
            content=self.body,
            files=parts or None,
            timeout=120,
        )


def curl_lines(text: str) -> list[str]:
    """Every curl line of a page; one that goes on after a backslash is one."""
    found = re.findall(r"^curl .*?(?<!\\)$", text, flags=re.MULTILINE | re.DOTALL)
    return [line.replace("\\\n", " ") for line in found]


def curl_call(line: str) -> CurlCall:
    """The call of a line. Raises ValueError for an option that is not known here."""
    words = iter(shlex.split(line)[1:])
    call, method = CurlCall(), None
    for word in words:
        if word.startswith(HOST_SHOWN):
            call.target = word.removeprefix(HOST_SHOWN)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            call.headers[name] = value
        elif word == "-d":
            call.body = next(words)
        elif word == "-F":
            name, _, value = next(words).partition("=")
            call.form[name] = value
        elif word == "-X":
            method = next(words)
        elif word == "-o":
            next(words)
        elif not re.fullmatch("-[siN]+", word):
            raise ValueError(f"{word} of {line}")
    call.method = method or ("GET" if call.body is None and not call.form else "POST")
    return call
