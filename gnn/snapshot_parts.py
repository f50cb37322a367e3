"""What a reindex writes into a new snapshot."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from gnn.catalogue_embedding import Embedded
from gnn.embedding import NewArray
from gnn.graph_data import GraphData
from gnn.graph_index import LOOKS, NEIGHBOURS, SavedIndex, prototypes_of
from gnn.reuse import ALIKE, FEATURE_SUMS
from gnn.tag_words import PROMPT
from gnn.trained_model import CONFIG, MODEL, TrainedModel
from gnn.words import NAME_PROMPT
from graph_store.array_files import new_mapped_array
from graph_store.arrays import Float32Array
from graph_store.durable import refusing_unwritable
from graph_store.graph import save_edges
from graph_store.index_choice import IndexChoice
from graph_store.progress import Progress
from graph_store.record_table import RecordTable
from graph_store.snapshot import SnapshotWriter

FEATURES = "features.npy"
INDEX_CHOICE = "index"
"""The parameter of a snapshot that says which index it has, and why."""


def arrays_in(writer: SnapshotWriter) -> NewArray:
    """Arrays mapped to files of the snapshot, so that states never need to fit into memory."""

    def new_array(name: str, shape: tuple[int, int]) -> Float32Array:
        folder = "states/" if name.startswith("image_") else ""
        return new_mapped_array(writer.path(f"{folder}{name}.npy"), shape)

    return new_array


def write_features(writer: SnapshotWriter, data: GraphData) -> None:
    """The largest file, most of whose time is the disk's."""
    writer.array(FEATURES.removesuffix(".npy"), data.features)
    writer.seal(FEATURES)


def seal_states(writer: SnapshotWriter, embedded: Embedded) -> None:
    """Nothing writes to the states any more: let them reach the disk while the index is made."""
    states = embedded.states
    for mapped in (*states.image_states, states.embeddings, states.tag_embeddings):
        if isinstance(mapped, np.memmap) and mapped.mode == "r+":
            mapped.flush()
    layers = sorted(f"states/{path.name}" for path in writer.path("states/image").parent.glob("image_*.npy"))
    done = ("embeddings.npy", "tag_embeddings.npy", f"{LOOKS}.npy", NEIGHBOURS, *layers)
    writer.seal(*(name for name in done if writer.path(name).exists()))


def write_rest(
    writer: SnapshotWriter,
    model: Path,
    data: GraphData,
    embedded: Embedded,
    index: SavedIndex,
    index_file: str,
    progress: Progress,
) -> None:
    """Write everything but the features and the manifest."""
    states = embedded.states
    with progress.phase("write", 7) as advance:
        writer.array("tag_text", data.tag_text)
        writer.array(FEATURE_SUMS, data.feature_sums)
        writer.array("prototypes", prototypes_of(data.features, embedded.graph.images_of_tag))
        advance(1)
        for layer, array in enumerate(states.tag_states):
            writer.array(f"states/tag_{layer}", array)
        advance(1)
        embedded.graph.save(writer.path("graph"))
        embedded.carried.save(writer.path("graph"), embedded.graph)
        if embedded.alike is not None:
            save_edges(writer.path("graph"), ALIKE, embedded.alike)
        advance(1)
        for name in (MODEL, CONFIG):
            copy = writer.path(f"model/{name}")
            with refusing_unwritable(copy):
                shutil.copyfile(model / name, copy)
        advance(1)
        index.save(writer.path(index_file))
        advance(1)
        counts = embedded.carried.of_tag.degrees().tolist()
        writer.json("tags", {"names": list(data.tag_names), "counts": counts})
        advance(1)
        RecordTable.write(writer.path("records"), data.images.fragments())
        advance(1)


def manifest_of(
    trained: TrainedModel,
    data: GraphData,
    embedded: Embedded,
    choice: IndexChoice,
    made_from: dict[str, Any],
) -> dict[str, Any]:
    """What the snapshot says of itself; the rest is filled in when it is sealed."""
    graph = embedded.graph
    return {
        "encoder": data.encoder.to_dict(),
        "text_encoder": data.text_encoder.to_dict(),
        "model": {
            "preset": trained.preset.name,
            "kind": trained.preset.model,
            "dim": trained.model.dim,
            "layers": trained.model.num_layers,
            "metrics": trained.metrics,
        },
        "parameters": {
            "made_from": made_from,
            "recipe": trained.preset.to_dict(),
            "embedded_anew": len(embedded.anew),
            INDEX_CHOICE: choice.to_dict(),
            PROMPT: NAME_PROMPT,
        },
        "counts": {
            "images": graph.num_images,
            "tags": graph.num_tags,
            "similar": graph.similar.num_edges,
            "has": embedded.carried.of_image.num_edges,
            "related": graph.related.num_edges,
            "indexed": graph.num_images,
            # A snapshot that left an image out has been refused by now: see `refuse_losses`.
            "skipped": 0,
            "failed": 0,
        },
    }
