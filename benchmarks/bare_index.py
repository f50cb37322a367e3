"""The HNSW index of a snapshot as bare FAISS would be used: links and vectors together."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnn.snapshot_parts import INDEX_CHOICE
from graph_store.arrays import Float32Array
from graph_store.errors import BadInput
from graph_store.faiss_api import faiss
from graph_store.faiss_storage import put_over, view_of
from graph_store.index_choice import COMPRESSED_FROM, FLAT_BELOW
from graph_store.snapshot import Snapshot


def refuse_without_links(snapshot: Snapshot) -> None:
    """Raises BadInput where the snapshot is searched in another way than by HNSW."""
    kind = snapshot.manifest["parameters"].get(INDEX_CHOICE, {}).get("kind")
    if kind != "hnsw":
        raise BadInput(
            f"Snapshot {snapshot.version} has an index of kind {kind!r}, and this is measured beside HNSW",
            hint=f"Take {FLAT_BELOW:,} images or more, below {COMPRESSED_FROM:,}.",
        )


class BareIndex:
    """`index` reads `vectors`, mapped from the snapshot, so it must not outlive this. Raises BadInput where
    that has no HNSW.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        refuse_without_links(snapshot)
        self.vectors: Float32Array = np.asarray(snapshot.array("embeddings"))
        self._storage = view_of(self.vectors)
        self.index: Any = faiss.read_index(str(snapshot.path("index.faiss")), faiss.IO_FLAG_MMAP_IFC)
        put_over(self.index, self._storage)
