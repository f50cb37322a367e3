"""Where the jobs of a data directory lie."""

from __future__ import annotations

from pathlib import Path

from graph_store.data_dir import DataDir


def jobs_path(data_dir: DataDir) -> Path:
    """The history, an SQLite file."""
    return data_dir.root / "jobs.sqlite"


def slot_path(data_dir: DataDir) -> Path:
    """The file that the running job locks."""
    return data_dir.root / "jobs.lock"
