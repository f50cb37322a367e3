"""Features that were damaged on the disk, put back from a snapshot, which has copies of its own."""

from __future__ import annotations

from collections.abc import Sequence

from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, ImsageError
from graph_store.features import FeatureFile
from graph_store.record_table import RecordTable
from graph_store.records import Place
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import versions

_NAMED = 5


def heal_features(data_dir: DataDir, features: FeatureFile, places: Sequence[Place]) -> list[Place]:
    """Compare the features of the images at `places` with their checksums and restore what is damaged.

    A copy counts when it has the checksum of what was written, so it is that picture's and no older one's.
    Returns the places that no snapshot has a copy for. For the holder of the data directory's lock.
    """
    by_row = {place.row: place for place in places}
    damaged = [by_row[row] for row in features.damaged(list(by_row))]
    for version in reversed(versions(data_dir)) if damaged else ():
        try:
            snapshot = Snapshot.open(data_dir, version)
            table, copies = RecordTable.open(snapshot.path("records")), snapshot.array("features")
        except ImsageError:
            continue
        with data_dir.writing("heal features"):
            for place in damaged:
                row = table.row_of(place.id)
                if row is not None:
                    features.restore(place.row, copies[row])
        damaged = [by_row[row] for row in features.damaged([place.row for place in damaged])]
        if not damaged:
            break
    return damaged


def refuse_damaged(features: FeatureFile, damaged: Sequence[Place]) -> None:
    """Raises CorruptFile, which names the file and images, unless there is none."""
    if damaged:
        names = ", ".join(repr(place.id) for place in damaged[:_NAMED])
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        raise CorruptFile(
            f"The feature file {features.path} is damaged: it no longer holds the features of {names}{more}",
            path=features.path,
            hint="Ingest their source again: what is damaged is made anew.",
        )
