"""The Ray cluster that an engine works on.

`ray` is the extra `imsage[ray]`. The cluster is the one that Ray's own RAY_ADDRESS names; without it one is
started on this machine and stopped again.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from gnn.engines.errors import EngineFailed
from graph_store.errors import BadInput

ADDRESS_VARIABLE = "RAY_ADDRESS"
_WAIT_S = 20.0
_PAUSE_S = 0.5
_OF_THIS_MACHINE = ("", "auto", "local")
# RFC 9113, 3.4: a client begins with these bytes and its settings, a server with its settings (frame type 4).
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_FRAME_HEAD = 9
_SETTINGS = 4


@contextmanager
def ray_cluster(wait_s: float = _WAIT_S) -> Iterator[Any]:
    """Ray, connected; what is connected already stays so.

    Raises BadInput where `ray` is not installed, EngineFailed when nothing answers at RAY_ADDRESS for
    `wait_s` seconds, or when no cluster can be started.
    """
    try:
        import ray
    except ImportError as error:
        raise BadInput(
            "Ray is asked for, and the package ray is not installed",
            hint='In the checkout of imsage: pip install -e ".[ray]"',
        ) from error
    if ray.is_initialized():
        yield ray
        return
    _await_address(os.environ.get(ADDRESS_VARIABLE, ""), wait_s)
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise EngineFailed(
            f"Ray cannot be reached: {last_line(error)}",
            hint=f"Look whether the cluster runs and whether {ADDRESS_VARIABLE} is right.",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def last_line(error: BaseException) -> str:
    """The end of what Ray says, which quotes tracebacks of other processes before it comes to the point."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()


def _await_address(address: str, wait_s: float) -> None:
    """Wait for something that speaks gRPC there. Ray itself would try a dead address again for many minutes,
    and cannot be told not to.
    """
    if address in _OF_THIS_MACHINE:
        return
    place = _host_and_port(address)
    end = time.monotonic() + wait_s
    while True:
        try:
            _greet(place, max(_PAUSE_S, end - time.monotonic()))
            return
        except OSError as error:
            if time.monotonic() + _PAUSE_S >= end:
                raise EngineFailed(
                    f"No Ray cluster answered at {ADDRESS_VARIABLE}={address} in {wait_s:g} seconds: "
                    f"{error.strerror or error}",
                    hint=f"Start the cluster, give its head as {ADDRESS_VARIABLE}=HOST:6379, or unset "
                    f"{ADDRESS_VARIABLE} to work on this machine.",
                ) from error
        time.sleep(_PAUSE_S)


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise EngineFailed(
            f"{ADDRESS_VARIABLE}={address} is no address of a Ray cluster",
            hint="Give HOST:PORT of its head, such as head:6379.",
        )
    return host, port


def _greet(place: tuple[str, int], timeout_s: float) -> None:
    """Raises OSError when nobody is there, or somebody who does not speak HTTP/2, as gRPC does."""
    with socket.create_connection(place, timeout=timeout_s) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return  # that it listens must do: its certificates are Ray's matter
        connection.sendall(_HTTP2)
        answer = b""
        while len(answer) < _FRAME_HEAD:
            more = connection.recv(_FRAME_HEAD - len(answer))
            if not more:
                break
            answer += more
    if len(answer) < _FRAME_HEAD or answer[3] != _SETTINGS:
        raise ConnectionError("what listens there is not Ray")
