"""The one shape that every graph model has here.

A model never walks the graph itself. It is given, for some nodes, their own states and the *already
aggregated* messages of each relation, and returns their next states. That is why the same few lines serve
four callers:

* layer-wise inference over all nodes (:mod:`gnn.model.aggregate`): aggregate whole CSR row ranges, then
  call the layer;
* fan-out training blocks (:mod:`gnn.sampling.blocks`): aggregate sampled neighbours, then call the layer;
* inductive attachment of a query: aggregate a handful of cached states, then call the layer;
* the PyG reference (:mod:`gnn.model.reference`), which is held to them by a parity test.

Relations, by the node that receives: an image receives from its ``similar`` images and from its ``tags``
(``rev_has``); a tag receives from its ``images`` (``has``) and from its ``related`` tags. A message is the
weighted mean of the senders' states, with weights that sum to one over the neighbourhood; an empty
neighbourhood sends a zero vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class GraphModel(nn.Module, ABC):
    """Abstract heterogeneous graph model over image nodes and tag nodes.

    ``num_layers`` is L, the number of message passing layers; ``dim`` is the width of the final embedding.
    All tensors are float32 and batch-first. States of layer l are called h^l, h^0 being the input states.
    ``state_dim(l)`` is the width of h^l, the same for both node types, so that their states can share a
    cache layout.
    """

    num_layers: int
    dim: int

    @abstractmethod
    def state_dim(self, layer: int) -> int:
        """Width of h^layer, for layer in 0..L."""

    @abstractmethod
    def input_images(self, x: Tensor) -> Tensor:
        """Raw encoder features x [n, feature_dim] → h^0 [n, state_dim(0)]."""

    @abstractmethod
    def input_tags(self, text: Tensor, ids: Tensor) -> Tensor:
        """Text features [t, text_dim] and tag ids [t] int64 → h^0 [t, state_dim(0)].

        An id of -1 is a tag that training has not seen: only its text speaks for it.
        """

    @abstractmethod
    def image_layer(self, layer: int, own: Tensor, similar: Tensor, tags: Tensor) -> Tensor:
        """h^(layer-1) of n images and their two messages, all [n, state_dim(layer-1)] → h^layer [n,
        state_dim(layer)].
        """

    @abstractmethod
    def tag_layer(self, layer: int, own: Tensor, images: Tensor, related: Tensor) -> Tensor:
        """h^(layer-1) of t tags and their two messages, all [t, state_dim(layer-1)] → h^layer [t,
        state_dim(layer)].
        """

    @abstractmethod
    def embed_images(self, states: Sequence[Tensor]) -> Tensor:
        """All states h^0..h^L of n images → final embeddings [n, dim], unit norm."""

    @abstractmethod
    def embed_tags(self, states: Sequence[Tensor]) -> Tensor:
        """All states h^0..h^L of t tags → final embeddings [t, dim], unit norm."""
