"""Messages from whole rows of a relation, and the plain layer-wise pass over a small graph built on them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gnn.model.base import GraphModel
from gnn.tensors import to_tensor
from graph_store.csr import Csr
from graph_store.graph import Graph


class NodeStates(NamedTuple):
    """h^0..h^L of every image and of every tag, each [nodes, width of that layer]."""

    images: list[Tensor]
    tags: list[Tensor]


def weighted_mean(csr: Csr, states: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
    """Messages to rows start..stop of a relation with normalised weights (:mod:`gnn.model.edge_weights`).

    states: [senders, d] → [stop - start, d] = Σ_j w_ij h_j, a zero row where there are no edges. The sum is
    one fused kernel: the gathered [edges, d] matrix never exists.
    """
    stop = csr.num_rows if stop is None else stop
    first, last = int(csr.indptr[start]), int(csr.indptr[stop])
    if first == last:
        return states.new_zeros(stop - start, states.shape[1])
    return functional.embedding_bag(
        to_tensor(csr.indices[first:last], states.device),
        states,
        to_tensor(csr.indptr[start : stop + 1] - first, states.device),
        mode="sum",
        per_sample_weights=to_tensor(csr.weights[first:last], states.device).to(states.dtype),
        include_last_offset=True,
    )


def full_states(
    model: GraphModel, graph: Graph, x: Tensor, tag_text: Tensor, tag_ids: Tensor | None = None
) -> NodeStates:
    """All states of all nodes, layer by layer: the definition that every faster path is compared with.

    graph: weights already normalised; x: [num_images, feature_dim]; tag_text: [num_tags, text_dim]; tag_ids:
    [num_tags] the model's number of each tag, -1 for one it has not seen, None where they are its own in
    order. Holds everything in memory, so it is for small graphs; differentiable.
    """
    ids = torch.arange(graph.num_tags, device=tag_text.device) if tag_ids is None else tag_ids
    states = NodeStates([model.input_images(x)], [model.input_tags(tag_text, ids)])
    for layer in range(1, model.num_layers + 1):
        images, tags = states.images[-1], states.tags[-1]
        next_images = model.image_layer(
            layer, images, weighted_mean(graph.similar, images), weighted_mean(graph.tags_of_image, tags)
        )
        next_tags = model.tag_layer(
            layer, tags, weighted_mean(graph.images_of_tag, images), weighted_mean(graph.related, tags)
        )
        states.images.append(next_images)
        states.tags.append(next_tags)
    return states
