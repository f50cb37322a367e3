"""Inductive attachment: a query becomes a node of the graph without touching it.

A query only receives messages, so no state of the graph depends on it and the cached h^0..h^(L-1) are exactly
what its neighbours would send in a full pass over the graph with the query added. Attaching is then a few
rows looked up and the model's own layer functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gnn.model.aggregate import weighted_mean
from gnn.model.base import GraphModel
from gnn.tensors import to_tensor
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr


@torch.inference_mode()
def inputs_of(model: GraphModel, features: Float32Array) -> Tensor:
    """h^0 [n, image_dim(0)] of images with these features [n, feature_dim]."""
    return model.input_images(to_tensor(np.ascontiguousarray(features)))


@torch.inference_mode()
def attach(
    model: GraphModel,
    inputs: Tensor,
    similar: Csr,
    tags: Csr,
    image_states: Sequence[Float32Array],
    tag_states: Sequence[Float32Array],
) -> list[Tensor]:
    """States h^0..h^L of n query nodes.

    inputs: h^0 of the nodes, [n, image_dim(0)]; similar: n rows over the graph's images, tags: n rows over
    its tags, both with message weights; image_states, tag_states: h^0..h^(L-1) of all nodes, which may be
    memory maps: only the rows that are named are read.
    """
    states = [inputs]
    from_images, from_tags = _Senders.of(similar), _Senders.of(tags)
    for layer in range(1, model.num_layers + 1):
        states.append(
            model.image_layer(
                layer,
                states[-1],
                from_images.message(image_states[layer - 1]),
                from_tags.message(tag_states[layer - 1]),
            )
        )
    return states


@dataclass(frozen=True, eq=False)
class _Senders:
    """The nodes that edges name, each once, and the edges among these few; of a single receiver the edges
    as they are.
    """

    named: Int64Array
    edges: Csr

    @classmethod
    def of(cls, edges: Csr) -> _Senders:
        if edges.num_rows == 1 or not edges.num_edges:
            return cls(edges.indices, edges)
        named, places = np.unique(edges.indices, return_inverse=True)
        return cls(named, Csr(edges.indptr, places.reshape(-1).astype(np.int64, copy=False), edges.weights))

    def message(self, states: Float32Array) -> Tensor:
        """Weighted sums [rows, width]; of `states`, only the named rows are read."""
        if not self.named.size:
            return torch.zeros(self.edges.num_rows, states.shape[1])
        if self.edges.num_rows == 1:  # a small product, in a fifth of the time
            return torch.from_numpy(self.edges.weights[np.newaxis] @ states[self.named])
        return weighted_mean(self.edges, torch.from_numpy(np.array(states[self.named])))
