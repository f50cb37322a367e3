"""Servers to be measured: a process that listens on a free port of the loopback and ends with its block."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 300
_NOT_YET = 503


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def listening(
    command: Sequence[str], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, once it answers `/readyz` with anything but 503. Ends the program when it does not
    start.
    """
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{' '.join(command)} did not start.")
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def serving(data: Path, **settings: object) -> Iterator[str]:
    """`imsage serve` on the data directory, as users start it; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "app", "serve", "--data", str(data), "--port", str(port)]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    with listening(command, port):
        yield f"http://127.0.0.1:{port}"


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status != _NOT_YET
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
