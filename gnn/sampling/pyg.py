"""Our neighbour sampler behind PyTorch Geometric's own extension point.

PyG's NeighborLoader needs pyg-lib or torch-sparse, which have no wheel on PyPI. A ``BaseSampler`` needs
neither: hand :class:`FanOutSampler` to PyG's ``NodeLoader`` or ``LinkLoader``. It follows NeighborLoader's
meaning of fan-outs: a node is expanded once, at the hop where it is first met, and all sampled edges serve
all layers.

Importing this module imports torch_geometric, which takes seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
)

from gnn.sampling.neighbours import pick_neighbours
from graph_store.arrays import BoolArray, Int64Array
from graph_store.csr import Csr
from graph_store.errors import BadInput
from graph_store.graph import Graph

EdgeType = tuple[str, str, str]


class FanOutSampler(BaseSampler):  # type: ignore[misc]  # torch_geometric has no type information
    """Samples subgraphs of the four relations. ``fan_outs`` counts from the seeds, for every relation.

    ``e_id`` of a batch are positions in the relation's CSR, which is the edge order of
    ``graph_store.pyg.to_hetero_data``. Randomness comes from torch's generator, so ``torch.manual_seed``
    fixes it and every worker process of a loader draws its own.
    """

    def __init__(self, graph: Graph, fan_outs: tuple[int, ...]) -> None:
        if not fan_outs or min(fan_outs) < 1:
            raise BadInput(f"fan-outs must be positive, one a hop, not {fan_outs}")
        self.num_nodes = {"image": graph.num_images, "tag": graph.num_tags}
        self.fan_outs = fan_outs
        self.relations: dict[EdgeType, Csr] = {
            ("image", "similar", "image"): graph.similar,
            ("tag", "rev_has", "image"): graph.tags_of_image,
            ("image", "has", "tag"): graph.images_of_tag,
            ("tag", "related", "tag"): graph.related,
        }

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: Any) -> HeteroSamplerOutput:
        """The subgraph around ``index.node`` of type ``index.input_type``; the seeds are its first nodes.

        BadInput when a seed occurs twice: the loader gives every seed a row, but edges lead to one only.
        """
        seeds = index.node.numpy()
        if np.unique(seeds).size < seeds.size:
            raise BadInput("a node occurs twice among the seeds of one batch")
        out = self._sample({index.input_type: seeds})
        out.metadata = (index.input_id, index.time)
        return out

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> HeteroSamplerOutput:
        """The subgraph around both ends of the seed edges, with PyG's binary or triplet negatives."""
        source_type, _, target_type = index.input_type
        source, target, label = index.row, index.col, index.label
        positives = source.numel()
        if neg_sampling is not None:
            extra = int(np.ceil(positives * neg_sampling.amount))
            target = torch.cat([target, neg_sampling.sample(extra, "dst", self.num_nodes[target_type])])
            if neg_sampling.is_binary():
                source = torch.cat([source, neg_sampling.sample(extra, "src", self.num_nodes[source_type])])
                label = torch.ones(positives) if label is None else label
                label = torch.cat([label, label.new_zeros(extra)])
        seeds, source_place, target_place = _distinct_ends(source_type, source, target_type, target)
        out = self._sample(seeds)
        if neg_sampling is not None and neg_sampling.is_triplet():
            negative = target_place[positives:].view(positives, -1).squeeze(-1)
            out.metadata = (index.input_id, source_place, target_place[:positives], negative, index.time)
        else:
            ends = torch.stack([source_place, target_place])
            out.metadata = (index.input_id, ends, label, index.time)
        return out

    def _sample(self, seeds: dict[str, Int64Array]) -> HeteroSamplerOutput:
        rng = np.random.default_rng(int(torch.randint(2**62, (1,))))
        nodes = {kind: _NodeList(count, seeds.get(kind)) for kind, count in self.num_nodes.items()}
        edges: dict[EdgeType, list[tuple[Int64Array, Int64Array, Int64Array]]] = {
            kind: [] for kind in self.relations
        }
        for fan_out in self.fan_outs:
            frontier = {kind: listed.frontier() for kind, listed in nodes.items()}
            for kind, csr in self.relations.items():
                receivers = frontier[kind[-1]]
                picks = pick_neighbours(csr, receivers, fan_out, rng)
                edge = picks.edges[picks.mask]
                sends = csr.indices[edge]
                receives = np.repeat(receivers, picks.mask.sum(axis=1))
                nodes[kind[0]].add(sends)
                edges[kind].append((sends, receives, edge))
            for listed in nodes.values():
                listed.close_hop()
        return self._output(nodes, edges)

    def _output(self, nodes: dict[str, _NodeList], edges: dict[EdgeType, Any]) -> HeteroSamplerOutput:
        row, col, edge, counts = {}, {}, {}, {}
        for kind, hops in edges.items():
            sends, receives, ids = (np.concatenate([hop[part] for hop in hops]) for part in range(3))
            row[kind] = torch.from_numpy(nodes[kind[0]].place[sends])
            col[kind] = torch.from_numpy(nodes[kind[-1]].place[receives])
            edge[kind] = torch.from_numpy(ids)
            counts[kind] = [hop[0].size for hop in hops]
        return HeteroSamplerOutput(
            node={kind: torch.from_numpy(np.concatenate(listed.hops)) for kind, listed in nodes.items()},
            row=row,
            col=col,
            edge=edge,
            num_sampled_nodes={kind: [hop.size for hop in listed.hops] for kind, listed in nodes.items()},
            num_sampled_edges=counts,
        )


class _NodeList:
    """The nodes of one type in the order they were met, hop by hop. ``place`` [num_nodes]: id → row."""

    def __init__(self, count: int, seeds: Int64Array | None) -> None:
        first = np.zeros(0, dtype=np.int64) if seeds is None else seeds
        self.hops = [first]
        self.place = np.full(count, -1, dtype=np.int64)
        self.place[first] = np.arange(first.size)
        self._size = first.size
        self._met: list[Int64Array] = []

    def frontier(self) -> Int64Array:
        """Nodes met at the last hop, whose edges are next."""
        return self.hops[-1]

    def add(self, nodes: Int64Array) -> None:
        self._met.append(nodes)

    def close_hop(self) -> None:
        """Make the new ones among the added nodes the next hop."""
        met = np.unique(np.concatenate(self._met)) if self._met else np.zeros(0, dtype=np.int64)
        new: BoolArray = self.place[met] < 0
        fresh = met[new]
        self.place[fresh] = self._size + np.arange(fresh.size)
        self._size += fresh.size
        self.hops.append(fresh)
        self._met = []


def _distinct_ends(
    source_type: str, source: Tensor, target_type: str, target: Tensor
) -> tuple[dict[str, Int64Array], Tensor, Tensor]:
    """Distinct seeds by type, and where each edge's source and target stand among those of their type."""
    if source_type == target_type:
        both, place = np.unique(torch.cat([source, target]).numpy(), return_inverse=True)
        ends = torch.from_numpy(place)
        return {source_type: both}, ends[: source.numel()], ends[source.numel() :]
    sources, source_place = np.unique(source.numpy(), return_inverse=True)
    targets, target_place = np.unique(target.numpy(), return_inverse=True)
    seeds = {source_type: sources, target_type: targets}
    return seeds, torch.from_numpy(source_place), torch.from_numpy(target_place)
