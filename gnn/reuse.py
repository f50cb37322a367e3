"""What a reindex can keep of the snapshot before: which of its images and tags are still as they were."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnn.changed_embedding import Before
from gnn.graph_data import GraphData
from gnn.graph_index import messages_of, stored_neighbours, stored_states
from gnn.trained_model import TrainedModel
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph, load_edges
from graph_store.mapped_pages import copy_rows
from graph_store.record_table import RecordTable
from graph_store.similar_changes import changed_edges
from graph_store.snapshot import Snapshot

FORMULA = 2
"""Raised when the same model and graph give other states than an earlier imsage computed. 2: sets are means
over known tags, and which of many edges stay depends on their row alone.
"""
_SAME = ("model_sha256", "formula")

_MOST_CHANGED = 0.25
"""Above this share of the images, anew is as quick."""

ALIKE = "alike"
"""Which tags mean alike, beside the relations of the graph: all of them are compared once."""

FEATURE_SUMS = "feature_sums"
"""The checksums of the images' features: they tell a picture that was replaced without reading any."""


@dataclass(frozen=True, eq=False)
class Reusable:
    """snapshot: the one before; similar: its edges with their cosines; before: its embedding; only_added:
    whether its images are the first ones of now, each as it was.
    """

    snapshot: Snapshot
    similar: Csr
    before: Before
    only_added: bool

    def copy_looks(self, looks: Float32Array) -> None:
        """Put the vectors in which neighbours are searched where they are those of before: looks [num_images,
        width].
        """
        index = stored_neighbours(self.snapshot)  # mapped no longer than this
        copy_rows(index.vectors, self.before.image_of, looks)

    def alike(self, tag_text: Float32Array, k: int, threshold: float) -> Csr | None:
        """Which tags of now mean alike: those of before, and what new ones add to them. tag_text: [t, d]."""
        if f"graph/{ALIKE}.indptr.npy" not in self.snapshot.manifest["files"]:
            return None
        tag_of, then = self.before.tag_of.copy(), np.asarray(self.snapshot.array("tag_text"))
        known = np.flatnonzero(tag_of >= 0)
        tag_of[known[(then[tag_of[known]] != tag_text[known]).any(axis=1)]] = -1
        edges = load_edges(self.snapshot.path("graph"), ALIKE)
        return changed_edges(tag_text, edges, tag_of, k, threshold)

    def file(self, name: str) -> Path | None:
        """The snapshot's index of that name, None where there is none."""
        return self.snapshot.path(name) if name in self.snapshot.manifest["files"] else None


def reusable(
    snapshot: Snapshot, trained: TrainedModel, data: GraphData, made_from: dict[str, Any]
) -> Reusable | None:
    """None where nothing can be kept: another model made the snapshot, or an imsage that did not write down
    what its images looked like; most has changed; or the preset judges each edge in the light of all others.
    """
    recorded = snapshot.manifest["parameters"].get("made_from", {})
    if trained.preset.agreement or any(recorded.get(name) != made_from[name] for name in _SAME):
        return None
    if f"{FEATURE_SUMS}.npy" not in snapshot.manifest["files"]:
        return None
    states, graph = stored_states(snapshot, trained.model), Graph.load(snapshot.path("graph"))
    ids = RecordTable.open(snapshot.path("records")).ids
    image_of = _places(ids, data.ids)
    # Ties are broken by row, so an image that has changed places counts as new.
    image_of[image_of < np.maximum.accumulate(image_of)] = -1
    image_of[snapshot.array(FEATURE_SUMS)[image_of] != data.feature_sums] = -1  # as good as new
    kept = int((image_of >= 0).sum())
    if max(len(image_of) - kept, len(ids) - kept) > _MOST_CHANGED * len(image_of):
        return None
    tag_of = _places(tuple(snapshot.json("tags")["names"]), data.tag_names)
    return Reusable(
        snapshot,
        graph.similar,
        Before(messages_of(trained, graph), states, image_of, tag_of),
        kept == len(ids) and np.array_equal(image_of[:kept], np.arange(kept)),
    )


def _places(old: tuple[str, ...], new: tuple[str, ...]) -> Int64Array:
    """Where each new name was among the old ones, -1 where it was not."""
    known = {name: place for place, name in enumerate(old)}
    return np.array([known.get(name, -1) for name in new], dtype=np.int64)
