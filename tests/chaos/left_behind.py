"""What must hold of a data directory after a start, whatever was killed before: seen from outside."""

from __future__ import annotations

from app.verify import verify_data_dir
from gnn.encoders.base import EncoderSpec
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.progress import SilentProgress
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import versions

KEPT = 3
"""Snapshots after a reindex that came to its end; one more when it was killed before the oldest went."""


def complaints(data_dir: DataDir, reindexed: bool) -> list[str]:
    """Everything that should not be so; empty when all is well. The service must have started and ended.
    reindexed: whether a reindex has just come to its end.
    """
    found = [f"verify: {problem}" for problem in verify_data_dir(data_dir, SilentProgress())]
    found += [f"left over: {path}" for path in data_dir.root.rglob(".*")]
    if data_dir.untidy:
        found.append("it is not marked as tidy")
    whole = Snapshot.open(data_dir).version
    there = versions(data_dir)
    if there[-1] != whole:
        found.append(f"CURRENT names {whole}, and there is {there[-1]}")
    if len(there) > (KEPT if reindexed else KEPT + 1):
        found.append(f"there are {len(there)} snapshots: {there}")
    with Catalog.open(data_dir.catalog_path) as catalog:
        blobs = {place.sha256 for place in catalog.places()}
        rows = catalog.next_row()
        spec = EncoderSpec.from_dict(catalog.meta("image_encoder"))
    for path in data_dir.blobs_dir.rglob("*"):
        if path.is_file() and path.name.partition(".")[0] not in blobs:
            found.append(f"no image has the blob {path}")
    features = FeatureFile.open(data_dir.features_dir, spec.slug, spec.dim)
    if features.path.stat().st_size != rows * spec.dim * 4:
        found.append(f"{features.path} is not {rows} rows long")
    return found
