"""The same model out of PyTorch Geometric's own parts: the reference that the fused form is held to.

Each layer is one ``HeteroConv`` of four ``SAGEConv``. The concatenating form needs no extra module: a
SAGEConv as wide as the concatenation holds the relation's matrix in the lower half of ``lin_l`` and the
node's own matrix in the upper half of ``lin_r``, the rest being zeros. The node's own term rides on one
relation of each node type, the others having no root weight. Uniform means use SAGEConv as it is; other
weights use a subclass whose message is multiplied by the edge weight and summed.

Importing this module imports torch_geometric, which takes seconds: only tests and training studies do so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.nn import HeteroConv, SAGEConv

from gnn.model.sage import HeteroSage, NodeLayer

EdgeType = tuple[str, str, str]
SIMILAR: EdgeType = ("image", "similar", "image")
REV_HAS: EdgeType = ("tag", "rev_has", "image")
HAS: EdgeType = ("image", "has", "tag")
RELATED: EdgeType = ("tag", "related", "tag")
EDGE_TYPES = (SIMILAR, REV_HAS, HAS, RELATED)


class WeightedSAGEConv(SAGEConv):  # type: ignore[misc]  # torch_geometric has no type information
    """SAGEConv whose neighbourhood term is Σ_j w_j h_j with given weights instead of the uniform mean."""

    # Arguments of propagate(), which PyG needs to know to write the method.
    propagate_type: ClassVar[dict[str, Any]] = {"x": tuple[Tensor, Tensor], "edge_weight": Tensor}

    def __init__(self, in_channels: tuple[int, int], out_channels: int, **kwargs: Any) -> None:
        super().__init__(in_channels, out_channels, aggr="sum", **kwargs)

    def forward(self, x: Tensor | tuple[Tensor, Tensor], edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        """x: states of (senders, receivers), or of both in one; edge_index [2, e]; edge_weight [e]."""
        pair = (x, x) if isinstance(x, Tensor) else x
        out = self.lin_l(self.propagate(edge_index, x=pair, edge_weight=edge_weight))
        result: Tensor = out + self.lin_r(pair[1]) if self.root_weight else out
        return result

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        return x_j * edge_weight.unsqueeze(1)


class ReferenceSage(nn.Module):
    """HeteroSage rebuilt from its state. ``weighted``: edges carry weights, else the mean is uniform.

    For comparison in evaluation mode: dropout is left out.
    """

    def __init__(self, model: HeteroSage, weighted: bool) -> None:
        super().__init__()
        self.weighted = weighted
        self.num_layers = model.num_layers
        self.layers = nn.ModuleList(
            self._layer(model.image_layers[index], model.tag_layers[index])
            for index in range(model.num_layers)
        )

    def _layer(self, images: nn.Module, tags: nn.Module) -> Any:
        assert isinstance(images, NodeLayer) and isinstance(tags, NodeLayer)
        convs = {
            SIMILAR: self._conv(images.first, images, root=True),
            REV_HAS: self._conv(images.second, images, root=False),
            HAS: self._conv(tags.first, tags, root=False),
            RELATED: self._conv(tags.second, tags, root=True),
        }
        return HeteroConv(convs, aggr="sum")

    def _conv(self, relation: nn.Linear, layer: NodeLayer, root: bool) -> Any:
        kind = WeightedSAGEConv if self.weighted else SAGEConv
        own = layer.own
        width = layer.bias.numel()
        conv = kind((relation.in_features, own.in_features), width, root_weight=root, bias=root)
        hidden = relation.out_features
        with torch.no_grad():
            conv.lin_l.weight.zero_()
            conv.lin_l.weight[width - hidden :] = relation.weight
            if root:
                conv.lin_l.bias.copy_(layer.bias)
                conv.lin_r.weight.zero_()
                conv.lin_r.weight[:hidden] = own.weight
        return conv

    def forward(
        self,
        x: Mapping[str, Tensor],
        edge_index: Mapping[EdgeType, Tensor],
        edge_weight: Mapping[EdgeType, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """h^0 of 'image' and 'tag' nodes and the edges of all four types → their unit-norm embeddings.

        edge_index: [2, e], row 0 sends and row 1 receives; a relation without edges has e = 0.
        """
        states = dict(x)
        for layer in range(1, self.num_layers + 1):
            states = self.layer(layer, states, edge_index, edge_weight)
        return {kind: nn.functional.normalize(state, dim=1) for kind, state in states.items()}

    def layer(
        self,
        layer: int,
        states: Mapping[Any, Any],
        edge_index: Mapping[EdgeType, Tensor],
        edge_weight: Mapping[EdgeType, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """One layer, 1..L. ``states`` is by node type; for a sampled block, whose senders and receivers are
        different lists of nodes, it is by edge type and holds (senders, receivers).
        """
        extra = {"edge_weight_dict": dict(edge_weight)} if self.weighted and edge_weight is not None else {}
        out: dict[str, Tensor] = self.layers[layer - 1](dict(states), dict(edge_index), **extra)
        return out if layer == self.num_layers else {kind: state.relu() for kind, state in out.items()}
