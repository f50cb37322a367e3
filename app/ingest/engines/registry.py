"""Engines of an ingestion by the name that the command line takes."""

from __future__ import annotations

from app.ingest.engines.engine import IngestEngine, LocalIngest
from app.ingest.engines.ray_engine import RayIngest
from graph_store.errors import UnknownName

ENGINES = ("local", "ray")


def ingest_engine_named(name: str) -> IngestEngine:
    """Raises UnknownName, which lists what there is."""
    if name not in ENGINES:
        raise UnknownName(f"There is no engine {name!r}", hint=f"Known: {', '.join(ENGINES)}.")
    return RayIngest() if name == "ray" else LocalIngest()
