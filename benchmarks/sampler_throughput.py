"""Seeds a second of the fused training path, on generated data of a fixed shape.

    python benchmarks/sampler_throughput.py [--images 100000] [--steps 10]

100,000 images with 512 features, 5,000 tags, 8 tags an image, batch 512, fan-out 25 then 10, two layers of
128. Two tasks: `node` embeds a batch of images and learns a classification-like loss (what a plain node
loader does); `random walk` is a step of preset `paper`, whose 512 seeds are pairs, with walks and
negatives. A step is sampling, feature look-up, forward, backward and the optimiser. `wall` is the median
step; `cpu` divides by the processor time spent, times the number of threads: what an idle machine would
give if threads scaled perfectly.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from gnn.model.edge_weights import MessageWeights, message_graph
from gnn.model.minibatch import batch_states
from gnn.model.sage import HeteroSage, SageConfig
from gnn.objectives.random_walk import RandomWalkConfig, RandomWalkObjective
from gnn.sampling.blocks import BlockSampler, MiniBatch
from graph_store.csr import Csr
from graph_store.graph import Graph

FEATURES, TEXT, TAGS, TAGS_PER_IMAGE, BATCH = 512, 384, 5_000, 8, 512


def generated_graph(images: int, neighbours: int, rng: np.random.Generator) -> Graph:
    """Random edges of the stated degrees; tag frequencies fall like 1/rank, as in real catalogues."""
    chances = 1 / np.arange(1, TAGS + 1)
    tags = rng.choice(TAGS, size=images * TAGS_PER_IMAGE, p=chances / chances.sum())
    has = Csr.from_edges(
        np.repeat(np.arange(images), TAGS_PER_IMAGE), tags, np.ones(tags.size, np.float32), images
    )

    def random_rows(rows: int, cols: int, degree: int) -> Csr:
        ends = rng.integers(0, cols, rows * degree)
        return Csr.from_edges(np.repeat(np.arange(rows), degree), ends, rng.random(ends.size), rows)

    return Graph(
        images,
        TAGS,
        random_rows(images, images, neighbours),
        has,
        has.transpose(TAGS),
        random_rows(TAGS, TAGS, 10),
    )


def timed(step: Callable[[int], object], steps: int) -> str:
    """Runs once to warm up, then ``steps`` times."""
    step(0)
    walls = []
    cpu = time.process_time()
    for number in range(1, steps + 1):
        start = time.perf_counter()
        step(number)
        walls.append(time.perf_counter() - start)
    cpu = (time.process_time() - cpu) / steps
    threads = torch.get_num_threads()
    return f"wall {BATCH / statistics.median(walls):8,.0f}   cpu {BATCH / cpu * threads:8,.0f} seeds/s"


def compare(images: int, neighbours: int, steps: int) -> None:
    """Print the three rows for one graph."""
    rng = np.random.default_rng(0)
    graph = generated_graph(images, neighbours, rng)
    torch.manual_seed(0)
    x, text = torch.randn(images, FEATURES), torch.randn(TAGS, TEXT)
    model = HeteroSage(SageConfig(FEATURES, TEXT, TAGS))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    sampler = BlockSampler(message_graph(graph, MessageWeights()), (25, 10), compact_tags=False)
    objective = RandomWalkObjective(model, graph, x, text, RandomWalkConfig(batch_size=BATCH))

    def draw() -> MiniBatch:
        return sampler.sample(rng.integers(0, images, BATCH), np.zeros(0, np.int64), rng)

    def node(step: int) -> None:
        model.train()
        embedded = model.embed_images(batch_states(model, draw(), x, text).images)
        learn((embedded[::2] * embedded[1::2]).sum(dim=1).sigmoid().log().mean().neg())

    def learn(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward() without annotations
        optimizer.step()

    for name, step in (
        ("sampling only", lambda step: draw()),
        ("node", node),
        ("random walk", lambda step: learn(objective.loss(0, step))),
    ):
        print(f"{neighbours:3} similar an image   {name:14} {timed(step, steps)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, {arguments.images:,} images")
    for neighbours in (5, 20):
        compare(arguments.images, neighbours, arguments.steps)


if __name__ == "__main__":
    main()
