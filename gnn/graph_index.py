"""One embedded graph: what a snapshot holds, and what answers queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnn.embedding import GraphStates
from gnn.hashing.hashed_index import HashedIndex
from gnn.model.edge_weights import message_graph
from gnn.trained_model import MODEL, TrainedModel, load_trained_model
from graph_store.arrays import Float32Array
from graph_store.csr import Csr
from graph_store.faiss_index import FaissIndex
from graph_store.graph import Graph
from graph_store.record_table import RecordTable
from graph_store.similar import NeighbourIndex
from graph_store.snapshot import Snapshot
from graph_store.vector_index import VectorIndex

STATES = ("image", "tag")


@dataclass(frozen=True, eq=False)
class GraphIndex:
    """graph: edges with their stored weights; states: of :func:`gnn.embedding.embed_graph`; neighbours: over
    the images in the model's similarity space; index: over the embeddings; tag_text: [t, text_dim];
    prototypes: [t, feature_dim] mean features of each tag's images, unit norm.
    """

    trained: TrainedModel
    ids: Sequence[str]
    tag_names: tuple[str, ...]
    graph: Graph
    features: Float32Array
    states: GraphStates
    neighbours: NeighbourIndex
    index: VectorIndex
    tag_text: Float32Array
    prototypes: Float32Array
    version: str = ""


def prototypes_of(features: Float32Array, images_of_tag: Csr, most: int = 1000) -> Float32Array:
    """[t, dim] unit norm: the mean features of each tag's images (an even sample of at most `most`)."""
    result = np.zeros((images_of_tag.num_rows, features.shape[1]), dtype=np.float32)
    for tag in range(images_of_tag.num_rows):
        rows = images_of_tag.row(tag)[0]
        step = max(1, -(-len(rows) // most))
        if len(rows):
            mean = features[rows[::step]].mean(axis=0)
            result[tag] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return result


def open_index(snapshot: Snapshot) -> GraphIndex:
    """The index that a snapshot holds, memory-mapped. Raises CorruptFile."""
    trained = load_trained_model(snapshot.path(f"model/{MODEL}").parent)
    layers = trained.model.num_layers
    features, embeddings = snapshot.array("features"), snapshot.array("embeddings")
    first = 1 if trained.model.images_enter_raw else 0
    images = [snapshot.array(f"states/image_{layer}") for layer in range(first, layers)]
    return GraphIndex(
        trained=trained,
        ids=RecordTable.open(snapshot.path("records")).ids,
        tag_names=tuple(snapshot.json("tags")["names"]),
        graph=Graph.load(snapshot.path("graph")),
        features=features,
        states=GraphStates(
            tuple([features] * first + images),
            tuple(snapshot.array(f"states/tag_{layer}") for layer in range(layers)),
            embeddings,
            snapshot.array("tag_embeddings"),
        ),
        neighbours=NeighbourIndex.open(snapshot.path("neighbours.faiss")),
        index=_open_search(snapshot, trained, embeddings),
        tag_text=snapshot.array("tag_text"),
        prototypes=snapshot.array("prototypes"),
        version=snapshot.version,
    )


def search_index(trained: TrainedModel, embeddings: Float32Array) -> FaissIndex | HashedIndex:
    """The index that the model's preset searches in, over the embeddings of all images."""
    if trained.hashing is not None:
        return HashedIndex.build(trained.hashing, embeddings)
    return FaissIndex.build(embeddings, "auto")


def index_file(trained: TrainedModel) -> str:
    """Where a snapshot holds that index: a file, or a directory of two."""
    return "index.faiss" if trained.hashing is None else "codes"


def _open_search(snapshot: Snapshot, trained: TrainedModel, embeddings: Float32Array) -> VectorIndex:
    path = snapshot.path(index_file(trained))
    if trained.hashing is not None:
        return HashedIndex.open(path, trained.hashing, embeddings)
    return FaissIndex.open(path)


def messages_of(trained: TrainedModel, graph: Graph) -> Graph:
    """The graph with the weights that messages have under the model's preset."""
    return message_graph(graph, trained.preset.weights)
