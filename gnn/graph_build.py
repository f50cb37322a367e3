"""From catalogue arrays to the graph of a preset."""

from __future__ import annotations

import numpy as np

from gnn.presets import GraphParameters
from gnn.projection import Projection, principal_projection, raw_projection
from graph_store.arrays import Float32Array
from graph_store.csr import Csr
from graph_store.graph import Graph
from graph_store.progress import Progress
from graph_store.related import related_edges
from graph_store.similar import similar_edges

_WHITENED_WIDTH = 256


def similar_space(features: Float32Array, how: GraphParameters) -> Projection:
    """Where `similar` neighbours are searched, fitted to [n, dim] features."""
    if how.space == "raw":
        return raw_projection(features.shape[1])
    return principal_projection(features, min(_WHITENED_WIDTH, features.shape[1]), 0.5)


def build_graph(
    vectors: Float32Array,
    tags_of_image: Csr,
    tag_text: Float32Array,
    how: GraphParameters,
    progress: Progress | None = None,
) -> Graph:
    """vectors: [n, d] unit norm, in the preset's space. Weights are as stored: cosines, tag weights."""
    num_tags = len(tag_text)
    similar = similar_edges(vectors, how.neighbours, how.threshold, progress)
    if how.related and num_tags > 1:
        related = related_edges(
            tag_text, tags_of_image, how.related, how.related_text_threshold, how.related_min_images
        )
    else:
        related = Csr.empty(num_tags)
    return Graph(len(vectors), num_tags, similar, tags_of_image, tags_of_image.transpose(num_tags), related)


def nearest_seen(tag_text: Float32Array, seen: np.ndarray, related: Csr, k: int) -> Csr:
    """`related` with edges added for tags that training has not seen and that no seen tag is related to: to
    the k seen tags nearest in text. seen: [t] bool.
    """
    lonely = [tag for tag in np.flatnonzero(~seen) if not seen[related.row(int(tag))[0]].any()]
    if not lonely or not seen.any():
        return related
    known = np.flatnonzero(seen)
    cosine = tag_text[lonely] @ tag_text[known].T
    best = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    rows = np.repeat(np.asarray(lonely, dtype=np.int64), best.shape[1])
    weights = np.maximum(np.take_along_axis(cosine, best, axis=1).reshape(-1), 1e-3)
    return Csr.from_edges(
        np.concatenate([related.edge_rows(), rows]),
        np.concatenate([related.indices, known[best.reshape(-1)]]),
        np.concatenate([related.weights, weights]),
        related.num_rows,
    )
