"""DGL's side of `python -m benchmarks.beside_dgl`; run by an interpreter that has DGL, and not ours.

    python -m benchmarks.beside_dgl.theirs FOLDER

As DGL's user guide has it (chapters 5 and 6, and the one of GraphBolt): a heterogeneous graph, a
`NeighborSampler` behind a `DataLoader` or GraphBolt's pipeline, message flow graphs, `HeteroGraphConv` of
`SAGEConv` with means; embeddings of all nodes by one pass over the whole graph or layer by layer. Every way
is offered, and the command keeps the quickest.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.beside_dgl.task import RELATIONS, Batches, Material, load, serve

os.environ.setdefault("DGLBACKEND", "pytorch")
import dgl
import dgl.graphbolt as gb
from dgl.dataloading import DataLoader, MultiLayerFullNeighborSampler, NeighborSampler
from dgl.nn.pytorch import HeteroGraphConv, SAGEConv

KINDS = ("image", "tag")


def graph_of(material: Material) -> Any:
    ends = {}
    for name, sender, receiver in RELATIONS:
        indptr, indices = material.relations[name]
        receives = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        ends[sender, name, receiver] = (torch.from_numpy(indices), torch.from_numpy(receives))
    return _ready(dgl.heterograph(ends, {"image": material.task.images, "tag": material.task.tags}))


def _ready(graph: Any) -> Any:
    """The graph with every format made, so that no turn pays for it."""
    graph.create_formats_()
    return graph


class Sage(nn.Module):
    """Two layers over the four relations, summed by receiver; tags have a learnt vector each."""

    def __init__(self, material: Material) -> None:
        super().__init__()
        task = material.task
        self.tags = nn.Embedding(task.tags, task.tag_dim)
        below = ({"image": task.features, "tag": task.tag_dim}, dict.fromkeys(KINDS, task.hidden))
        self.layers = nn.ModuleList(
            HeteroGraphConv(
                {
                    name: SAGEConv((widths[sender], widths[receiver]), task.hidden, "mean")
                    for name, sender, receiver in RELATIONS
                },
                aggregate="sum",
            )
            for widths in below
        )
        self._take(material.weights)

    @torch.no_grad()
    def _take(self, weights: Any) -> None:
        """Our weights. A receiver's own matrix and its bias go into its first relation, and zeros into the
        second: `SAGEConv` has one of each for every relation.
        """
        self.tags.weight.copy_(torch.from_numpy(weights["tag_table.weight"]))
        for number, layer in enumerate(self.layers):
            for name, sender, receiver in RELATIONS:
                ours, conv = f"{receiver}_layers.{number}", layer.mods[name]
                place = "first" if sender == "image" else "second"
                conv.fc_neigh.weight.copy_(torch.from_numpy(weights[f"{ours}.{place}.weight"]))
                conv.fc_self.weight.copy_(torch.from_numpy(weights[f"{ours}.own.weight"]))
                conv.fc_self.bias.copy_(torch.from_numpy(weights[f"{ours}.bias"]))
                if place == "second":
                    conv.fc_self.weight.zero_()
                    conv.fc_self.bias.zero_()

    def forward(self, graphs: Any, states: dict[str, Tensor]) -> dict[str, Tensor]:
        """graphs: one for each layer."""
        states = self.layers[0](graphs[0], states)
        return self.layers[1](graphs[1], {kind: functional.relu(each) for kind, each in states.items()})


class OneKind(nn.Module):
    """The same two layers where images and tags are nodes of one kind."""

    def __init__(self, material: Material) -> None:
        super().__init__()
        task = material.task
        self.first = SAGEConv(task.features, task.hidden, "mean")
        self.second = SAGEConv(task.hidden, task.hidden, "mean")

    def forward(self, blocks: Any, states: Tensor) -> Tensor:
        return self.second(blocks[1], functional.relu(self.first(blocks[0], states)))


class Theirs:
    def __init__(self, material: Material) -> None:
        self.material = material
        self.graph = graph_of(material)
        self.x = torch.from_numpy(material.features)
        self.order = torch.from_numpy(material.order)
        self.fan_outs = list(reversed(material.task.fan_outs))
        self.one_kind = _ready(dgl.to_homogeneous(self.graph))
        tags = torch.randn(material.task.tags, material.task.features)
        self.joint_x = torch.cat([self.x, tags])

    def loader(self, graph: Any, seeds: Any, workers: int, fused: bool) -> Iterator[Any]:
        """(input nodes, output nodes, message flow graphs), epoch after epoch."""
        task = self.material.task
        sampler = NeighborSampler(self.fan_outs, fused=fused)
        while True:
            yield from DataLoader(
                graph, seeds, sampler, batch_size=task.batch, drop_last=True, num_workers=workers
            )

    def bolt(self, workers: int) -> Iterator[Any]:
        """The same of GraphBolt."""
        task = self.material.task
        graph = gb.from_dglgraph(self.graph)
        items = gb.ItemSetDict({"image": gb.ItemSet(self.order, names="seed_nodes")})
        each = [torch.full((len(RELATIONS),), fan_out) for fan_out in self.fan_outs]
        while True:
            pipe = gb.ItemSampler(items, batch_size=task.batch, drop_last=True)
            for batch in gb.DataLoader(pipe.sample_neighbor(graph, each), num_workers=workers):
                yield batch.input_nodes, batch.seed_nodes, batch.blocks

    def hetero(self, workers: int, fused: bool = True) -> Iterator[Any]:
        return self.loader(self.graph, {"image": self.order}, workers, fused)

    def sample(self, batches: Iterator[Any]) -> Batches:
        for _, _, blocks in batches:
            yield self.material.task.batch, _edges(blocks)

    def step(self, batches: Iterator[Any]) -> Batches:
        model = Sage(self.material).train()
        optimizer = torch.optim.Adam(model.parameters())
        for nodes, _, blocks in batches:
            states = {"image": self.x[nodes["image"]], "tag": model.tags(nodes["tag"])}
            yield self._learn(optimizer, model(blocks, states)["image"], blocks)

    def step_one_kind(self, workers: int) -> Batches:
        model = OneKind(self.material).train()
        optimizer = torch.optim.Adam(model.parameters())
        for nodes, _, blocks in self.loader(self.one_kind, self.order, workers, True):
            yield self._learn(optimizer, model(blocks, self.joint_x[nodes]), blocks)

    def _learn(self, optimizer: Any, states: Tensor, blocks: Any) -> tuple[int, int]:
        embedded = functional.normalize(states, dim=1)
        loss = (embedded[::2] * embedded[1::2]).sum(dim=1).sigmoid().log().mean().neg()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return self.material.task.batch, _edges(blocks)

    @torch.no_grad()
    def whole(self) -> Tensor:
        model = Sage(self.material).eval()
        states = model([self.graph, self.graph], {"image": self.x, "tag": model.tags.weight})
        return functional.normalize(states["image"], dim=1)

    @torch.no_grad()
    def by_layer(self, batch: int = 8192) -> Tensor:
        """As the guide's chapter 6.7 does it."""
        model = Sage(self.material).eval()
        states = {"image": self.x, "tag": model.tags.weight.detach()}
        every = {kind: torch.arange(self.graph.num_nodes(kind)) for kind in KINDS}
        for number, layer in enumerate(model.layers):
            done = {kind: torch.empty(len(ids), self.material.task.hidden) for kind, ids in every.items()}
            sampler = MultiLayerFullNeighborSampler(1)
            for nodes, seeds, (block,) in DataLoader(self.graph, every, sampler, batch_size=batch):
                found = layer(block, {kind: states[kind][ids] for kind, ids in nodes.items()})
                for kind, ids in seeds.items():
                    done[kind][ids] = found[kind] if number else functional.relu(found[kind])
            states = done
        return functional.normalize(states["image"], dim=1)

    def infer(self, embed: Any) -> Batches:
        while True:
            embed()
            yield self.material.task.images + self.material.task.tags, 0


def _edges(blocks: Any) -> int:
    return sum(int(block.num_edges(kind)) for block in blocks for kind in block.canonical_etypes)


def main() -> None:
    # It wants the workers pinned to cores of their own, of which two cores have none to give.
    warnings.filterwarnings("ignore", "Dataloader CPU affinity")
    material = load(Path(sys.argv[1]))
    torch.set_num_threads(material.task.threads)
    dgl.utils.set_num_threads(material.task.threads)
    torch.manual_seed(0)
    side = Theirs(material)
    sources = {
        "no worker": lambda: side.hetero(0),
        "no worker, not fused": lambda: side.hetero(0, fused=False),
        "1 worker": lambda: side.hetero(1),
        "2 workers": lambda: side.hetero(2),
        "GraphBolt": lambda: side.bolt(0),
        "GraphBolt, 1 worker": lambda: side.bolt(1),
    }
    ways: dict[tuple[str, str], Any] = {}
    for name, source in sources.items():
        ways["sample", name] = lambda source=source: side.sample(source())
        ways["step", name] = lambda source=source: side.step(source())
    for workers, name in enumerate(("no worker", "1 worker", "2 workers")):
        ways["step, one kind of node", name] = lambda workers=workers: side.step_one_kind(workers)
    ways["infer", "whole graph"] = lambda: side.infer(side.whole)
    ways["infer", "layer by layer"] = lambda: side.infer(side.by_layer)
    serve(ways, lambda: side.whole().numpy())


if __name__ == "__main__":
    main()
