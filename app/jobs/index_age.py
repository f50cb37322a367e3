"""What the current snapshot is behind the catalogue by, for the schedule."""

from __future__ import annotations

from datetime import datetime

from app.jobs.schedule import IndexAge
from gnn.reindex import revision_taken_in
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import NothingToServe
from graph_store.snapshot import Snapshot


class IndexAgeReader:
    """Called, it reads the manifest and counts the changes; no large file is opened."""

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir
        self._catalog: Catalog | None = None

    def __call__(self) -> IndexAge | None:
        """None where there is no snapshot yet. Raises CorruptFile, and NothingToServe without a catalogue."""
        try:
            snapshot = Snapshot.open(self._data_dir, verify=False)
        except NothingToServe:
            return None
        if self._catalog is None:
            # Opening checks every page of it, which once is enough.
            self._catalog = Catalog.open(self._data_dir.catalog_path)
        changed = self._catalog.count_changes(revision_taken_in(self._catalog, snapshot))
        return IndexAge(
            changed=changed,
            indexed=int(snapshot.manifest["counts"]["images"]),
            created=datetime.fromisoformat(snapshot.manifest["created"]),
        )
