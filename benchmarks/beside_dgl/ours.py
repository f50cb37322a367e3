"""Our side of `python -m benchmarks.beside_dgl`: samples, trains and embeds as presets do.

python -m benchmarks.beside_dgl.ours FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.beside_dgl.task import Batches, Material, load, serve
from gnn.embedding import GraphStates, embed_graph
from gnn.model.edge_weights import uniform
from gnn.model.minibatch import batch_states
from gnn.model.sage import HeteroSage, SageConfig
from gnn.sampling.blocks import BlockSampler, MiniBatch
from graph_store.csr import Csr
from graph_store.graph import Graph

NOTHING = np.zeros(0, np.int64)


def graph_of(material: Material) -> Graph:
    """The relations as our graph, each row a mean."""
    rows = {
        name: uniform(Csr(indptr, indices, np.ones(len(indices), np.float32)))
        for name, (indptr, indices) in material.relations.items()
    }
    return Graph(material.task.images, material.task.tags, **rows)


def edges_of(batch: MiniBatch) -> int:
    return sum(
        int(block.mask.sum())
        for level in batch.levels
        for block in (level.similar, level.tags_of_image, level.images_of_tag, level.related)
    )


class Ours:
    def __init__(self, material: Material) -> None:
        task = material.task
        self.material = material
        self.graph = graph_of(material)
        self.x = torch.from_numpy(material.features)
        self.tag_text = torch.zeros(task.tags, 0)
        self.sampler = BlockSampler(self.graph, task.fan_outs, compact_tags=False)

    def model(self, combine: str = "sum", dropout: float = 0.0) -> HeteroSage:
        """`sum` without dropout is the function that the other side computes, and has its weights."""
        task = self.material.task
        config = SageConfig(
            task.features, 0, task.tags, task.tag_dim, task.hidden, combine=combine, dropout=dropout
        )
        model = HeteroSage(config)
        if combine == "sum":
            given = {name: torch.from_numpy(values) for name, values in self.material.weights.items()}
            model.load_state_dict(given)
        return model

    def batches(self) -> Iterator[MiniBatch]:
        rng = np.random.default_rng(0)
        for seeds in self.material.batch_of_seeds():
            yield self.sampler.sample(seeds, NOTHING, rng)

    def sample(self) -> Batches:
        for batch in self.batches():
            yield self.material.task.batch, edges_of(batch)

    def step(self, combine: str = "sum", dropout: float = 0.0) -> Batches:
        model = self.model(combine, dropout).train()
        optimizer = torch.optim.Adam(model.parameters())
        for batch in self.batches():
            embedded = model.embed_images(batch_states(model, batch, self.x, self.tag_text).images)
            loss = (embedded[::2] * embedded[1::2]).sum(dim=1).sigmoid().log().mean().neg()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield self.material.task.batch, edges_of(batch)

    def embed(self) -> GraphStates:
        task = self.material.task
        text, numbers = np.zeros((task.tags, 0), np.float32), np.arange(task.tags, dtype=np.int64)
        return embed_graph(self.model(), self.graph, self.material.features, text, numbers)

    def infer(self) -> Batches:
        while True:
            self.embed()
            yield self.material.task.images + self.material.task.tags, 0


def main() -> None:
    material = load(Path(sys.argv[1]))
    torch.set_num_threads(material.task.threads)
    torch.manual_seed(0)
    side = Ours(material)
    ways = {
        ("sample", "plain"): side.sample,
        ("step", "plain"): side.step,
        ("step, preset paper", "plain"): lambda: side.step("concat", 0.2),
        ("infer", "plain"): side.infer,
    }
    serve(ways, lambda: side.embed().embeddings)


if __name__ == "__main__":
    main()
