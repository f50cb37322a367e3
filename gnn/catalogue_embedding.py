"""A catalogue embedded whole by a trained model: its graph, the states of the nodes, the embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gnn.agreement.believed import believed_graph
from gnn.carried_tags import CarriedTags
from gnn.changed_embedding import embed_changes
from gnn.embedding import GraphStates, NewArray, blocks, in_memory
from gnn.engines.engine import EmbeddingWork, Engine, LocalEngine
from gnn.graph_build import build_graph, nearest_seen
from gnn.graph_data import GraphData
from gnn.graph_index import LOOKS, NEIGHBOURS, messages_of
from gnn.presets import GraphParameters
from gnn.reuse import Reusable
from gnn.trained_model import TrainedModel, tag_numbers
from graph_store import index_choice
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph
from graph_store.mapped_pages import release
from graph_store.neighbour_index import NeighbourIndex
from graph_store.progress import Progress
from graph_store.similar import similar_edges
from graph_store.similar_changes import changed_edges


@dataclass(frozen=True, eq=False)
class Embedded:
    """carried: the tags of the catalogue, where those of the graph may be believed ones; neighbours: over the
    images in the model's similarity space; anew: the rows that were embedded anew; alike: which tags mean
    alike, None where tags are not related.
    """

    graph: Graph
    carried: CarriedTags
    states: GraphStates
    neighbours: NeighbourIndex
    anew: Int64Array
    alike: Csr | None


@dataclass(frozen=True, eq=False)
class How:
    """engine: what computes the layers; new_array: makes the arrays that are kept, new_scratch those that go
    with `scratch`; neighbours: the file of the index of that name, None to hold it in memory; kept: of the
    snapshot before.
    """

    engine: Engine = field(default_factory=LocalEngine)
    new_array: NewArray = in_memory
    new_scratch: NewArray = in_memory
    scratch: Path = Path()
    neighbours: Path | None = None
    kept: Reusable | None = None


def embed_catalogue(
    trained: TrainedModel, data: GraphData, tags_of_image: Csr, progress: Progress, how: How
) -> Embedded:
    """tags_of_image: the catalogue's edges, or others in their place."""
    parameters = trained.preset.graph
    num, width = len(data.features), trained.space.axes.shape[1]
    apart = num >= index_choice.COMPRESSED_FROM
    new_array = how.new_array if apart else how.new_scratch if num >= index_choice.FLAT_BELOW else in_memory
    vectors = new_array(LOOKS, (num, width))
    if how.kept is None:
        trained.space.into(vectors, data.features)
    else:
        how.kept.copy_looks(vectors)
        fresh = np.flatnonzero(how.kept.before.image_of < 0)
        for start, stop in blocks(len(fresh)):
            vectors[fresh[start:stop]] = trained.space(np.asarray(data.features[fresh[start:stop]]))
    neighbours, similar = None, None
    if apart or (how.kept is not None and how.kept.only_added):
        neighbours = _neighbours(vectors, apart, progress, how)
    if how.kept is not None:
        similar = changed_edges(
            vectors,
            how.kept.similar,
            how.kept.before.image_of,
            parameters.neighbours,
            parameters.threshold,
            progress,
            neighbours,
        )
    alike = _alike(data.tag_text, parameters, how.kept)
    graph = build_graph(
        vectors, tags_of_image, data.tag_text, parameters, progress, similar, neighbours, alike
    )
    if neighbours is not None:
        neighbours = _reopened(neighbours, vectors, apart, how)  # what was searched leaves the memory
    carried = CarriedTags.of(graph)
    if trained.preset.agreement:
        believed = believed_graph(graph, np.asarray(data.features), trained.preset)
        if trained.preset.model == "rise":
            graph = believed
        else:  # which has learnt from the believed tags alone
            graph = build_graph(
                vectors, believed.tags_of_image, data.tag_text, parameters, similar=graph.similar, alike=alike
            )
    numbers = tag_numbers(trained, data.tag_names)
    if parameters.related:
        related = nearest_seen(data.tag_text, numbers >= 0, graph.related)
        graph = Graph(
            graph.num_images, graph.num_tags, graph.similar, graph.tags_of_image, graph.images_of_tag, related
        )
    release(vectors)
    work = EmbeddingWork(trained, messages_of(trained, graph), data.features, data.tag_text, numbers)
    if how.kept is not None and isinstance(how.engine, LocalEngine):
        states, anew = embed_changes(work, how.kept.before, how.new_array, progress)
    else:
        states, anew = how.engine.embed(work, how.new_array, how.scratch, progress), np.arange(num)
    neighbours = neighbours or _neighbours(vectors, apart, progress, how)
    return Embedded(graph, carried, states, neighbours, anew, alike)


def _alike(tag_text: Float32Array, how: GraphParameters, kept: Reusable | None) -> Csr | None:
    if not how.related or len(tag_text) < 2:
        return None
    known = None if kept is None else kept.alike(tag_text, how.related, how.related_text_threshold)
    return similar_edges(tag_text, how.related, how.related_text_threshold) if known is None else known


def _neighbours(vectors: Float32Array, apart: bool, progress: Progress, how: How) -> NeighbourIndex:
    """The index over the images in the similarity space; mapped from its file where it has one, so that no
    later step must share the memory with it. apart: the vectors are kept where they are.
    """
    with progress.phase("neighbours", len(vectors)) as advance:
        path = None if how.kept is None else how.kept.file(NEIGHBOURS)
        if how.kept is None or path is None:
            index = NeighbourIndex.build(vectors, apart=apart)
        else:
            row_of = None if how.kept.only_added else how.kept.before.image_of
            index = NeighbourIndex.grown(path, vectors, row_of, apart=apart)
        if how.neighbours is not None:
            index.save(how.neighbours)
            index = _reopened(index, vectors, apart, how)
        advance(len(vectors))
    return index


def _reopened(index: NeighbourIndex, vectors: Float32Array, apart: bool, how: How) -> NeighbourIndex:
    if how.neighbours is None:
        return index
    return NeighbourIndex.open(how.neighbours, vectors if apart else None)
