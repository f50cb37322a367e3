"""From catalogue arrays to the graph of a preset."""

from __future__ import annotations

import numpy as np

from gnn.presets import GraphParameters
from gnn.projection import Projection, principal_projection, raw_projection
from gnn.words import nearest_in_meaning
from graph_store.arrays import BoolArray, Float32Array
from graph_store.csr import Csr
from graph_store.graph import Graph
from graph_store.neighbour_index import NeighbourIndex
from graph_store.progress import Progress
from graph_store.related import related_edges
from graph_store.similar import similar_edges

_WHITENED_WIDTH = 256

_AT_ONCE = 256
"""Tags that are compared with all others in one product."""


def similar_space(features: Float32Array, how: GraphParameters) -> Projection:
    """Where `similar` neighbours are searched, fitted to [n, dim] features."""
    if how.space == "raw":
        return raw_projection(features.shape[1])
    width = min(_WHITENED_WIDTH, features.shape[1])
    return principal_projection(features, width, 0.5, roots=how.space == "rooted")


def build_graph(
    vectors: Float32Array,
    tags_of_image: Csr,
    tag_text: Float32Array,
    how: GraphParameters,
    progress: Progress | None = None,
    similar: Csr | None = None,
    neighbours: NeighbourIndex | None = None,
    alike: Csr | None = None,
) -> Graph:
    """vectors: [n, d] unit norm, in the preset's space. Weights are as stored: cosines, tag weights. similar:
    these edges, where they are known; neighbours: an index over the vectors, where there is one; alike: which
    tags mean alike, where that is known.
    """
    num_tags = len(tag_text)
    if similar is None:
        similar = similar_edges(vectors, how.neighbours, how.threshold, progress, neighbours)
    if how.related and num_tags > 1:
        related = related_edges(
            tag_text, tags_of_image, how.related, how.related_text_threshold, how.related_min_images, alike
        )
    else:
        related = Csr.empty(num_tags)
    return Graph(len(vectors), num_tags, similar, tags_of_image, tags_of_image.transpose(num_tags), related)


def nearest_seen(tag_text: Float32Array, seen: BoolArray, related: Csr) -> Csr:
    """`related` with edges added for tags that training has not seen and that no seen tag is related to: to
    the seen tags that would speak for such a word in a query, weighing as they would there. seen: [t].
    """
    known = np.flatnonzero(seen)
    lonely = [tag for tag in np.flatnonzero(~seen).tolist() if not seen[related.row(tag)[0]].any()]
    if not lonely or not known.size:
        return related
    rows, cols, weights = [related.edge_rows()], [related.indices], [related.weights]
    meant = np.ascontiguousarray(tag_text[known])
    for start in range(0, len(lonely), _AT_ONCE):
        part = lonely[start : start + _AT_ONCE]
        for tag, cosines in zip(part, tag_text[part] @ meant.T, strict=True):
            nearest, shares = nearest_in_meaning(cosines)
            rows.append(np.full(len(nearest), tag, dtype=np.int64))
            cols.append(known[nearest])
            weights.append(shares)
    return Csr.from_edges(
        np.concatenate(rows), np.concatenate(cols), np.concatenate(weights), related.num_rows
    )
