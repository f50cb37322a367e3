"""Starting the server: its environment, its address, its processes."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import uvicorn
from uvicorn.supervisors import Multiprocess

from app.keys import keys_path, read_keys
from app.settings import Settings
from graph_store.errors import BadInput, ImsageError, NothingToServe
from graph_store.snapshot_files import versions

CANNOT_START = 3
"""The exit code of a server process that would fail in the same way again: it is not begun anew."""
CANNOT_START_NOW = 1
"""That of one whose fellows serve: they go on, and it is begun anew."""

_FACTORY = "app.api.application:app_from_environment"
_GRACE_SECONDS = 10
_PAUSE_SECONDS = 5.0
_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_SERVED = "served"


def serve(settings: Settings) -> None:
    """Serve until the process is told to stop.

    Raises NothingToServe when the data directory has no snapshot, BadInput when the address cannot be
    listened on or the package is missing that reaches a replica's store, CorruptFile when the API keys cannot
    be read, and ImsageError when a server process cannot start, which has said why in the log. A replica
    starts without a snapshot, and is ready when it has fetched one.
    """
    if settings.replica and settings.store is not None:
        _ = settings.store.files  # a missing package is told here, in one line; connecting comes later
    elif not settings.data_dir.current_path.exists() and not versions(settings.data_dir):
        raise NothingToServe(
            f"There is nothing to serve in {settings.data}", hint="Build an index with `imsage build SOURCE`."
        )
    read_keys(keys_path(settings.data_dir))
    _check_address(settings.host, settings.port)
    # Worker processes read their settings from here. FAISS reads OMP_NUM_THREADS once, when it is loaded, and
    # setting its threads later does not reach the threads of a pool: so it must stand here before anything
    # imports FAISS.
    os.environ.update(settings.to_environment())
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    with _shared_metrics(settings.workers):
        _run(
            uvicorn.Config(
                _FACTORY,
                factory=True,
                host=settings.host,
                port=settings.port,
                workers=settings.workers,
                log_config=None,
                access_log=False,
                server_header=False,
                # Nothing here asks who the client is or by which scheme it came.
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )


def note_that_it_serves() -> None:
    """To be called by a server process that serves: what is found wrong later is no reason to end others."""
    if _SHARED in os.environ:
        (Path(os.environ[_SHARED]) / _SERVED).touch()


def end_without_a_start() -> NoReturn:
    """The end of a server process that cannot start: of all of them where none has served yet. A fellow of
    processes that serve is begun anew, after a pause.
    """
    if _SHARED in os.environ and (Path(os.environ[_SHARED]) / _SERVED).exists():
        time.sleep(_PAUSE_SECONDS)
        sys.exit(CANNOT_START_NOW)
    sys.exit(CANNOT_START)


def _run(config: uvicorn.Config) -> None:
    """What `uvicorn.run` does, which does not say why it has ended."""
    if config.workers == 1:
        server = uvicorn.Server(config)
        try:
            server.run()
        except KeyboardInterrupt:
            return  # it has stopped in good order by then
        is_up = server.started
    else:
        supervisor = Multiprocess(config, sockets=[config.bind_socket()])
        supervisor.run()
        is_up = all(process.exitcode != CANNOT_START for process in supervisor.processes)
    if not is_up:
        raise ImsageError("The server could not start", hint="The lines above say why.")


def _check_address(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason = "another program listens there" if number == errno.EADDRINUSE else str(error)
        raise BadInput(
            f"Cannot listen on {host}:{port}: {reason}", hint="Choose another with --port or --host."
        ) from error


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """With several processes, a folder where each keeps its counts, so that /metrics adds up over all."""
    if workers == 1:
        yield
        return
    folder = tempfile.mkdtemp(prefix="imsage-metrics-")
    os.environ[_SHARED] = folder
    try:
        yield
    finally:
        os.environ.pop(_SHARED, None)
        shutil.rmtree(folder, ignore_errors=True)
