"""Starting the server: its environment, its address, its processes."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from app.settings import Settings
from graph_store.errors import BadInput, NothingToServe
from graph_store.snapshot_files import versions

_FACTORY = "app.api.application:app_from_environment"
_GRACE_SECONDS = 10


def serve(settings: Settings) -> None:
    """Serve until the process is told to stop.

    Raises NothingToServe when the data directory has no snapshot, BadInput when the address cannot be
    listened on or the package is missing that reaches a replica's store. A replica starts without a snapshot,
    and is ready when it has fetched one.
    """
    if settings.replica and settings.store is not None:
        _ = settings.store.files  # a missing package is told here, in one line; connecting comes later
    elif not settings.data_dir.current_path.exists() and not versions(settings.data_dir):
        raise NothingToServe(
            f"There is nothing to serve in {settings.data}", hint="Build an index with `imsage build SOURCE`."
        )
    _check_address(settings.host, settings.port)
    # Worker processes read their settings from here. FAISS reads OMP_NUM_THREADS once, when it is loaded, and
    # setting its threads later does not reach the threads of a pool: so it must stand here before anything
    # imports FAISS.
    os.environ.update(settings.to_environment())
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    with _shared_metrics(settings.workers):
        uvicorn.run(
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
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    try:
        yield
    finally:
        os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        shutil.rmtree(folder, ignore_errors=True)
