"""Inductive attachment: a query becomes a node of the graph without touching it.

A query only receives messages, so no state of the graph depends on it and the cached h^0..h^(L-1) are exactly
what its neighbours would send in a full pass over the graph with the query added. Attaching is then a few
rows looked up and the model's own layer functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gnn.model.aggregate import weighted_mean
from gnn.model.base import GraphModel
from gnn.tensors import to_tensor
from graph_store.arrays import Float32Array
from graph_store.csr import Csr


@torch.inference_mode()
def attach(
    model: GraphModel,
    features: Float32Array,
    similar: Csr,
    tags: Csr,
    image_states: Sequence[Float32Array],
    tag_states: Sequence[Float32Array],
) -> list[Tensor]:
    """States h^0..h^L of n query nodes.

    features: [n, feature_dim]; similar: n rows over the graph's images, tags: n rows over its tags, both with
    message weights; image_states, tag_states: h^0..h^(L-1) of all nodes, which may be memory maps: only the
    rows that are named are read.
    """
    states = [model.input_images(to_tensor(np.ascontiguousarray(features)))]
    for layer in range(1, model.num_layers + 1):
        states.append(
            model.image_layer(
                layer,
                states[-1],
                _message(similar, image_states[layer - 1]),
                _message(tags, tag_states[layer - 1]),
            )
        )
    return states


def _message(edges: Csr, states: Float32Array) -> Tensor:
    """Weighted sums [rows, width] over the named rows of `states`."""
    named, places = np.unique(edges.indices, return_inverse=True)
    if not named.size:
        return torch.zeros(edges.num_rows, states.shape[1])
    gathered = torch.from_numpy(np.array(states[named]))
    local = Csr(edges.indptr, places.reshape(-1).astype(np.int64), edges.weights)
    return weighted_mean(local, gathered)
