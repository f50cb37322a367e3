"""The catalogue with the tags that graph agreement believes: what a preset with that option learns from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gnn.agreement.agree import agree
from gnn.graph_build import build_graph, similar_space
from gnn.graph_data import GraphData
from gnn.presets import Preset


def with_believed_tags(data: GraphData, preset: Preset) -> GraphData:
    """Wrong tags pruned, sure ones added, over the preset's own graph. The records stay as they are."""
    features = np.asarray(data.features)
    vectors = similar_space(features, preset.graph)(features)
    graph = build_graph(vectors, data.tags_of_image, data.tag_text, preset.graph)
    return replace(data, tags_of_image=agree(graph, features, preset.agreement).graph.tags_of_image)
