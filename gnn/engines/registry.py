"""Engines by the name that the command line takes."""

from __future__ import annotations

from gnn.engines.engine import Engine, LocalEngine
from gnn.engines.ray_engine import RayEngine
from graph_store.errors import UnknownName

ENGINES = ("local", "ray")


def engine_named(name: str) -> Engine:
    """Raises UnknownName, which lists what there is."""
    if name not in ENGINES:
        raise UnknownName(f"There is no engine {name!r}", hint=f"Known: {', '.join(ENGINES)}.")
    return RayEngine() if name == "ray" else LocalEngine()
