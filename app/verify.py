"""Compares everything in a data directory with what it should be: stored files, pictures and models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from app.ingest.blobs import original_path, thumbnail_path
from graph_store import verify as store
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile
from graph_store.progress import Progress


def verify_data_dir(data_dir: DataDir, progress: Progress) -> list[str]:
    """Everything that is wrong, one line each; empty when all is well. It changes nothing and takes no lock.

    One run names all problems. Raises NothingToServe when there is no catalogue at all.
    """
    with progress.phase("Catalogue, features, snapshots", 1) as advance:
        problems = [f"{problem.path}: {problem.reason}" for problem in store.verify_data_dir(data_dir)]
        advance(1)
    with progress.phase("Models", 1) as advance:
        problems += _models(data_dir)
        advance(1)
    with progress.phase("Pictures", 1) as advance:
        problems += _pictures(data_dir)
        advance(1)
    return problems


def _models(data_dir: DataDir) -> Iterator[str]:
    for path in sorted(data_dir.models_dir.glob("*/*.safetensors")):
        reason = _unreadable(path)
        if reason is not None:
            yield f"{path}: {reason}"


def _unreadable(path: Path) -> str | None:
    """Why the tensors of a file cannot be read. The format's own header says how long the file must be."""
    try:
        with safe_open(path, framework="numpy") as tensors:
            tensors.keys()
    except (SafetensorError, OSError) as error:
        return str(error)
    return None


def _pictures(data_dir: DataDir) -> Iterator[str]:
    try:
        with Catalog.open(data_dir.catalog_path) as catalog:
            ids = {record.sha256: record.id for record in catalog.records() if record.sha256 is not None}
    except CorruptFile:
        return  # the catalogue itself is among the problems already
    for sha256, image_id in ids.items():
        thumbnail, original = thumbnail_path(data_dir, sha256), original_path(data_dir, sha256)
        if not thumbnail.is_file() or thumbnail.stat().st_size == 0:
            yield f"{thumbnail}: the thumbnail of {image_id!r} is missing; ingest its source again"
        if original.is_file() and sha256_of_file(original) != sha256:
            yield f"{original}: the original of {image_id!r} was altered"
