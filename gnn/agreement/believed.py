"""What a preset with graph agreement learns from: its graph, or its catalogue, with believed edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gnn.agreement.agree import agree
from gnn.graph_build import build_graph, similar_space
from gnn.graph_data import GraphData
from gnn.presets import Preset
from graph_store.arrays import Float32Array
from graph_store.csr import Csr
from graph_store.errors import BadInput
from graph_store.graph import Graph


def believed_graph(graph: Graph, features: Float32Array, preset: Preset) -> Graph:
    """The preset's graph with the edges that are believed. features: [num_images, dim]. Raises BadInput when
    not one tag is.
    """
    believed = agree(graph, features, preset.agreement).graph
    if graph.tags_of_image.num_edges and not believed.tags_of_image.num_edges:
        raise BadInput(
            f"Graph agreement believes none of the {graph.tags_of_image.num_edges} tags of this catalogue",
            hint="Train without the option: `--option agreement=0`.",
        )
    return believed


def believed_tags(features: Float32Array, tags_of_image: Csr, tag_text: Float32Array, preset: Preset) -> Csr:
    """Wrong tags pruned, sure ones added, over the preset's own graph. features: [n, dim] of the images."""
    vectors = similar_space(features, preset.graph)(features)
    graph = build_graph(vectors, tags_of_image, tag_text, preset.graph)
    return believed_graph(graph, features, preset).tags_of_image


def with_believed_tags(data: GraphData, preset: Preset) -> GraphData:
    """The same of a catalogue. The records stay as they are, and so do `similar` edges: those of a question
    are not judged, and an image is to be where such a one is.
    """
    features = np.asarray(data.features)
    return replace(data, tags_of_image=believed_tags(features, data.tags_of_image, data.tag_text, preset))
