"""One embedded graph: what a snapshot holds, and what answers queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch.nn import functional

from gnn.carried_tags import CarriedTags
from gnn.embedding import GraphStates, as_tensor
from gnn.hashing.hashed_index import HashedIndex
from gnn.index_questions import index_questions
from gnn.model.base import GraphModel
from gnn.model.edge_weights import message_graph
from gnn.trained_model import MODEL, TrainedModel, load_trained_model
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.errors import BadInput, NotFound
from graph_store.faiss_index import FaissIndex
from graph_store.graph import Graph
from graph_store.index_choice import IndexChoice, IndexPolicy, choose_index
from graph_store.ivfpq_index import IvfPqIndex
from graph_store.mapped_pages import streamed
from graph_store.milvus_index import MilvusIndex
from graph_store.milvus_server import MilvusServer
from graph_store.neighbour_index import NeighbourIndex
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot
from graph_store.vector_index import VectorIndex

STATES = ("image", "tag")
INDEX, NEIGHBOURS = "index.faiss", "neighbours.faiss"
LOOKS = "looks"
"""The vectors in which neighbours are searched, where they are apart from that index."""
COMPRESSED = "index.ivfpq.faiss"
CODES = "codes"
MILVUS_FILE = "milvus.json"

_AT_ONCE = 32_768

SavedIndex: TypeAlias = FaissIndex | IvfPqIndex | HashedIndex | MilvusIndex
"""What a snapshot is searched in, as it is made: it can be saved."""


@dataclass(frozen=True, eq=False)
class GraphIndex:
    """graph: edges with their stored weights; carried: the tags that images carry, which graph agreement may
    believe otherwise; states: of :func:`gnn.embedding.embed_graph`; neighbours: over
    the images in the model's similarity space; index: over the embeddings; tag_text: [t, text_dim];
    prototypes: [t, feature_dim] mean features of each tag's images, unit norm.
    """

    trained: TrainedModel
    ids: Sequence[str]
    tag_names: tuple[str, ...]
    graph: Graph
    carried: CarriedTags
    features: Float32Array
    states: GraphStates
    neighbours: NeighbourIndex
    index: VectorIndex
    tag_text: Float32Array
    prototypes: Float32Array
    version: str = ""


@dataclass(frozen=True, eq=False)
class Earlier:
    """The index of an earlier catalogue. path: its file; row_of: [n] the row there of each image whose vector
    is as it was, -1 of the others; only_added: whether its images are the first of now.
    """

    path: Path
    row_of: Int64Array
    only_added: bool


def prototypes_of(features: Float32Array, images_of_tag: Csr, most: int = 1000) -> Float32Array:
    """[t, dim] unit norm: the mean features of each tag's images (an even sample of at most `most`). Features
    that are mapped are read once, from the first to the last.
    """
    sampled = [
        images_of_tag.row(tag)[0][:: max(1, -(-degree // most))]
        for tag, degree in enumerate(images_of_tag.degrees().tolist())
    ]
    rows = np.concatenate([np.zeros(0, np.int64), *sampled])
    tags = np.repeat(np.arange(len(sampled)), [len(each) for each in sampled])
    order = np.argsort(rows, kind="stable")
    rows, tags = rows[order], tags[order]
    sums = np.zeros((images_of_tag.num_rows, features.shape[1]), dtype=np.float32)
    for start, stop in streamed(len(features), _AT_ONCE, features):
        first, last = np.searchsorted(rows, (start, stop))
        by_tag = first + np.argsort(tags[first:last], kind="stable")
        present, begins = np.unique(tags[by_tag], return_index=True)
        sums[present] += functional.embedding_bag(
            torch.from_numpy(rows[by_tag] - start),
            as_tensor(np.asarray(features[start:stop])),
            torch.from_numpy(begins),
            mode="sum",
        ).numpy()
    result: Float32Array = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return result


def open_index(snapshot: Snapshot, milvus: MilvusServer | None = None) -> GraphIndex:
    """The index that a snapshot holds, memory-mapped; one whose vectors are searched in Milvus needs the
    server. Raises CorruptFile, BadInput without the server, IndexUnreachable.
    """
    trained = load_trained_model(snapshot.path(f"model/{MODEL}").parent)
    states = stored_states(snapshot, trained.model)
    graph = Graph.load(snapshot.path("graph"))
    return GraphIndex(
        trained=trained,
        ids=RecordTable.open(snapshot.path("records")).ids,
        tag_names=tuple(snapshot.json("tags")["names"]),
        graph=graph,
        carried=CarriedTags.open(snapshot, graph),
        features=snapshot.array("features"),
        states=states,
        neighbours=stored_neighbours(snapshot),
        index=_open_search(snapshot, trained, states.embeddings, milvus),
        tag_text=snapshot.array("tag_text"),
        prototypes=snapshot.array("prototypes"),
        version=snapshot.version,
    )


def stored_neighbours(snapshot: Snapshot) -> NeighbourIndex:
    """The index over the images in the similarity space, memory-mapped. Raises CorruptFile."""
    apart = f"{LOOKS}.npy" in snapshot.manifest["files"]
    return NeighbourIndex.open(snapshot.path(NEIGHBOURS), snapshot.array(LOOKS) if apart else None)


def stored_states(snapshot: Snapshot, model: GraphModel) -> GraphStates:
    """The states and embeddings that a snapshot holds, memory-mapped."""
    first = 1 if model.images_enter_raw else 0
    images = [snapshot.array(f"states/image_{layer}") for layer in range(first, model.num_layers)]
    return GraphStates(
        tuple([snapshot.array("features")] * first + images),
        tuple(snapshot.array(f"states/tag_{layer}") for layer in range(model.num_layers)),
        snapshot.array("embeddings"),
        snapshot.array("tag_embeddings"),
    )


def chosen_index(
    trained: TrainedModel, num: int, policy: IndexPolicy, milvus: MilvusServer | None = None
) -> IndexChoice:
    """Which index `num` images get, and why: `policy` decides where the model or Milvus do not."""
    if trained.hashing is not None:
        return IndexChoice("hash", f"Preset {trained.preset.name!r} is searched by its codes.")
    if milvus is not None:
        return IndexChoice("milvus", "The setting milvus_uri is set.")
    return choose_index(num, trained.model.dim, policy)


def refuse_codes_in_milvus(trained: TrainedModel, milvus: MilvusServer | None) -> None:
    """Raises BadInput where the model has codes and a server is given: codes are searched in this process
    only.
    """
    if trained.hashing is not None and milvus is not None:
        raise BadInput(
            f"The codes of preset {trained.preset.name!r} are searched in the service, not in Milvus",
            hint="Unset milvus_uri: 48 bytes an image fit one machine for a long time.",
        )


def search_index(
    trained: TrainedModel,
    states: GraphStates,
    choice: IndexChoice,
    milvus: MilvusServer | None = None,
    earlier: Earlier | None = None,
) -> SavedIndex:
    """The index that the model's preset searches in, over the embeddings of all images, and as wide as their
    questions need; in Milvus where a server is given. choice: of :func:`chosen_index`; where it leaves two
    kinds, the index says which it is. earlier: such an index, from which what still holds is taken over.

    Raises BadInput for codes in Milvus.
    """
    embeddings = states.embeddings
    refuse_codes_in_milvus(trained, milvus)
    if trained.hashing is not None:
        return HashedIndex.build(trained.hashing, embeddings)
    if milvus is not None:
        return MilvusIndex.build(milvus, embeddings)
    questions = index_questions(trained, states)
    if choice.kind == "ivfpq":
        if earlier:
            compressed = IvfPqIndex.grown(earlier.path, embeddings, questions, row_of=earlier.row_of)
        else:
            compressed = IvfPqIndex.build(embeddings, questions)
        if choice.otherwise is None or compressed.is_quick:
            return compressed
        choice = choice.otherwise
    kind: Literal["flat", "hnsw"] = "flat" if choice.kind == "flat" else "hnsw"
    if earlier and earlier.only_added:
        return FaissIndex.grown(earlier.path, embeddings, kind, apart=True, questions=questions)
    return FaissIndex.build(embeddings, kind, apart=True, questions=questions)


def index_file(kind: str) -> str:
    """Where a snapshot holds an index of that kind of :func:`chosen_index`: a file, or a directory of two."""
    return {"hash": CODES, "milvus": MILVUS_FILE, "ivfpq": COMPRESSED}.get(kind, INDEX)


def milvus_collection(snapshot: Snapshot) -> str | None:
    """The collection that a snapshot is searched in, None where it is not searched in Milvus."""
    try:
        snapshot.path(MILVUS_FILE)
    except NotFound:
        return None
    return str(snapshot.json(MILVUS_FILE.removesuffix(".json"))["collection"])


def _open_search(
    snapshot: Snapshot, trained: TrainedModel, embeddings: Float32Array, milvus: MilvusServer | None
) -> VectorIndex:
    if trained.hashing is not None:
        return HashedIndex.open(snapshot.path(CODES), trained.hashing, embeddings)
    if COMPRESSED in snapshot.manifest["files"]:
        return IvfPqIndex.open(snapshot.path(COMPRESSED), embeddings)
    if milvus_collection(snapshot) is None:
        return FaissIndex.open(snapshot.path(INDEX), vectors=embeddings)
    if milvus is None:
        raise BadInput(
            f"Snapshot {snapshot.version} is searched in Milvus, and no server is set",
            hint="Set milvus_uri (IMSAGE_MILVUS_URI), or reindex without it: `imsage reindex --full`.",
        )
    return MilvusIndex.open(snapshot.path(MILVUS_FILE), milvus, embeddings)


def messages_of(trained: TrainedModel, graph: Graph) -> Graph:
    """The graph with the weights that messages have under the model's preset."""
    return message_graph(graph, trained.preset.weights)
