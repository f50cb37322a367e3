"""The HNSW index of a snapshot as bare FAISS would be used: links and vectors together."""

from __future__ import annotations

from typing import Any

import numpy as np

from graph_store.arrays import Float32Array
from graph_store.faiss_api import faiss
from graph_store.faiss_storage import put_over, view_of
from graph_store.snapshot import Snapshot


class BareIndex:
    """`index` reads `vectors`, mapped from the snapshot, so it must not outlive this."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.vectors: Float32Array = np.asarray(snapshot.array("embeddings"))
        self._storage = view_of(self.vectors)
        self.index: Any = faiss.read_index(str(snapshot.path("index.faiss")), faiss.IO_FLAG_MMAP_IFC)
        put_over(self.index, self._storage)
