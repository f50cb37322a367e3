"""Features that were damaged on the disk, put back from a snapshot, which has copies of its own."""

from __future__ import annotations

from collections.abc import Sequence

from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, ImsageError
from graph_store.features import FeatureFile
from graph_store.image_table import ImageTable
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import versions

_NAMED = 5


def heal_features(data_dir: DataDir, features: FeatureFile, images: ImageTable) -> list[str]:
    """Compare the features of the images with their checksums and restore what is damaged.

    A copy counts when it has the checksum of what was written, so it is that picture's and no older one's.
    Returns the ids of those that no snapshot has a copy for. For the holder of the data directory's lock.
    """
    rows = set(features.damaged(images.rows))
    owners = zip(images.rows.tolist(), images.ids, strict=True) if rows else ()
    damaged = {row: image_id for row, image_id in owners if row in rows}
    for version in reversed(versions(data_dir)) if damaged else ():
        try:
            snapshot = Snapshot.open(data_dir, version)
            table, copies = RecordTable.open(snapshot.path("records")), snapshot.array("features")
        except ImsageError:
            continue
        with data_dir.writing("heal features"):
            for row, image_id in damaged.items():
                copy = table.row_of(image_id)
                if copy is not None:
                    features.restore(row, copies[copy])
        damaged = {row: damaged[row] for row in features.damaged(list(damaged))}
        if not damaged:
            break
    return list(damaged.values())


def refuse_damaged(features: FeatureFile, damaged: Sequence[str]) -> None:
    """Raises CorruptFile, which names the file and the damaged images, unless there is none."""
    if damaged:
        names = ", ".join(repr(image_id) for image_id in damaged[:_NAMED])
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        raise CorruptFile(
            f"The feature file {features.path} is damaged: it no longer holds the features of {names}{more}",
            path=features.path,
            hint="Ingest their source again: what is damaged is made anew.",
        )
