"""Small random graphs with what real ones have: empty rows, hubs, isolated images, unused tags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gnn.model.sage import HeteroSage, SageConfig
from graph_store.csr import Csr
from graph_store.graph import Graph

FEATURES, TEXT = 12, 7


@dataclass(frozen=True)
class World:
    """A graph with stored (not normalised) weights, and the features of its nodes."""

    graph: Graph
    x: Tensor
    tag_text: Tensor


def random_csr(rng: np.random.Generator, rows: int, cols: int, max_degree: int) -> Csr:
    """Rows of 0..max_degree distinct neighbours, heaviest first; the first row is empty."""
    degrees = rng.integers(0, min(max_degree, cols) + 1, size=rows)
    degrees[:1] = 0
    indices = [rng.choice(cols, size=degree, replace=False) for degree in degrees]
    weights = [np.sort(rng.uniform(0.3, 1.0, size=degree))[::-1] for degree in degrees]
    return Csr.from_edges(
        np.repeat(np.arange(rows), degrees),
        np.concatenate([*indices, np.zeros(0, np.int64)]),
        np.concatenate([*weights, np.zeros(0)]),
        rows,
    )


def random_world(seed: int = 0, images: int = 60, tags: int = 14) -> World:
    rng = np.random.default_rng(seed)
    has = random_csr(rng, images, tags, 5)
    graph = Graph(
        images,
        tags,
        random_csr(rng, images, images, 12),
        has,
        has.transpose(tags),
        random_csr(rng, tags, tags, 4),
    )
    return World(
        graph,
        torch.from_numpy(rng.standard_normal((images, FEATURES)).astype(np.float32)),
        torch.from_numpy(rng.standard_normal((tags, TEXT)).astype(np.float32)),
    )


def small_sage(tags: int = 14, seed: int = 0, **changes: object) -> HeteroSage:
    """An untrained model of the paper's kind, small, with biases that are not zero."""
    settings = {"feature_dim": FEATURES, "text_dim": TEXT, "num_tags": tags, "tag_dim": 6, "hidden": 8}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = HeteroSage(SageConfig(**{**settings, **changes}))
        for layer in [*model.image_layers, *model.tag_layers]:
            torch.nn.init.normal_(layer.bias, std=0.1)
    return model.eval()
