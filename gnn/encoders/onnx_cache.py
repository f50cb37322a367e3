"""ONNX graphs exported from packaged weights: made once, kept in the user's cache, checked when read."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph_store.durable import write_bytes
from graph_store.errors import Unwritable

if TYPE_CHECKING:
    import torch

CACHE_VARIABLE = "IMSAGE_CACHE_DIR"
_DIGEST_BYTES = 32


def cache_dir() -> Path:
    """Where this user's caches of imsage lie: IMSAGE_CACHE_DIR, else the place the system has for caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "imsage"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imsage"


def exported(name: str, make: Callable[[], bytes]) -> bytes:
    """The graph cached as `name`, or what `make` returns, which is then cached.

    The file starts with the SHA-256 of the rest; one that does not match is made anew, so a truncated cache
    costs some seconds and nothing else. Where the cache cannot be written the graph is used all the same.
    """
    path = cache_dir() / f"{name}.onnx.checked"
    try:
        stored = path.read_bytes()
    except OSError:
        stored = b""
    graph = stored[_DIGEST_BYTES:]
    if graph and hashlib.sha256(graph).digest() == stored[:_DIGEST_BYTES]:
        return graph
    graph = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, hashlib.sha256(graph).digest() + graph)
    except (OSError, Unwritable):
        pass  # a container with a read-only home exports at each start
    return graph


def export_graph(
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    inputs: dict[str, Sequence[str]],
) -> bytes:
    """Trace `module` on `example` to an ONNX graph with one output, `features` [n, dim].

    `inputs` names the inputs and, for each, its leading axes of free length.
    """
    import torch

    # The exporter restores the training mode it found on the module it is given, so it must find eval there.
    module.eval()
    axes: dict[str, Any] = {name: dict(enumerate(free)) for name, free in inputs.items()}
    axes["features"] = {0: "n"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "graph.onnx"
        # The tracing exporter announces its successor, which needs the input shapes in another form and
        # writes external data files; and it warns of each shape it makes constant, which the check at 1e-4 on
        # another batch size covers.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            example,
            path,
            dynamo=False,
            input_names=list(inputs),
            output_names=["features"],
            dynamic_axes=axes,
            opset_version=17,
        )
        return path.read_bytes()
