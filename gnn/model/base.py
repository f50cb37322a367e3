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
    The two node types may differ in width. ``images_enter_raw`` says that ``input_images`` returns its
    argument: training blocks may then aggregate straight from the feature table, without a gathered copy.
    """

    num_layers: int
    dim: int
    images_enter_raw: bool = False

    @abstractmethod
    def image_dim(self, layer: int) -> int:
        """Width of an image's h^layer, for layer in 0..L."""

    @abstractmethod
    def tag_dim(self, layer: int) -> int:
        """Width of a tag's h^layer, for layer in 0..L."""

    def heard(self, layer: int) -> slice:
        """Which numbers of its `similar` images' h^(layer-1) a step to h^layer depends on, all by default: a
        change of the others need not be passed on.
        """
        del layer
        return slice(None)

    @abstractmethod
    def input_images(self, x: Tensor) -> Tensor:
        """Raw encoder features x [n, feature_dim] → h^0 [n, image_dim(0)]."""

    @abstractmethod
    def input_tags(self, text: Tensor, ids: Tensor) -> Tensor:
        """Text features [t, text_dim] and tag ids [t] int64 → h^0 [t, tag_dim(0)].

        An id of -1 is a tag that training has not seen: only its text speaks for it.
        """

    @abstractmethod
    def image_layer(self, layer: int, own: Tensor, similar: Tensor, tags: Tensor) -> Tensor:
        """The step from h^(layer-1) to h^layer of n images, layer in 1..L.

        own, similar: [n, image_dim(layer-1)]; tags: [n, tag_dim(layer-1)] → [n, image_dim(layer)].
        """

    @abstractmethod
    def tag_layer(self, layer: int, own: Tensor, images: Tensor, related: Tensor) -> Tensor:
        """The step from h^(layer-1) to h^layer of t tags, layer in 1..L.

        own, related: [t, tag_dim(layer-1)]; images: [t, image_dim(layer-1)] → [t, tag_dim(layer)].
        """

    @abstractmethod
    def embed_images(self, states: Sequence[Tensor]) -> Tensor:
        """All states h^0..h^L of n images → final embeddings [n, dim], unit norm."""

    @abstractmethod
    def embed_tags(self, states: Sequence[Tensor]) -> Tensor:
        """All states h^0..h^L of t tags → final embeddings [t, dim], unit norm."""
