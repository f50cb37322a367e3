"""Features that were damaged on the disk, put back from a snapshot, which has copies of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, ImsageError
from graph_store.features import FeatureFile
from graph_store.image_table import ImageTable
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import versions

_NAMED = 5
_PURPOSE = "heal features"
_AT_ONCE = 4096
"""Rows that are copied at a time: 20 MB of features of 1,280 numbers."""


def open_features(data_dir: DataDir, slug: str, dim: int, num_rows: int) -> FeatureFile:
    """The features of one encoder, which had `num_rows` rows. Where a snapshot may have copies of what is
    gone, its file is made again: its rows count as damaged. Raises as FeatureFile.open does.
    """
    gone = not all((data_dir.features_dir / f"{slug}{end}").exists() for end in (".f32", ".json"))
    if gone and versions(data_dir):
        with data_dir.writing(_PURPOSE):
            features = FeatureFile.open(data_dir.features_dir, slug, dim, create=True)
            features.extend(num_rows)
            return features
    return FeatureFile.open(data_dir.features_dir, slug, dim)


def heal_features(data_dir: DataDir, features: FeatureFile, images: ImageTable) -> list[str]:
    """Compare the features of the images with their checksums and restore what is damaged.

    A copy counts when it has the checksum of what was written, so it is that picture's and no older one's;
    or when it is what lies there, and only the checksum was lost.
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
        kept = [(row, table.row_of(image_id)) for row, image_id in damaged.items()]
        places = np.array([(row, copy) for row, copy in kept if copy is not None], np.int64).reshape(-1, 2)
        with data_dir.writing(_PURPOSE):
            for start in range(0, len(places), _AT_ONCE):
                some = places[start : start + _AT_ONCE]
                features.restore(some[:, 0], copies[some[:, 1]])
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
