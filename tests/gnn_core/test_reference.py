"""The fused model equals PyTorch Geometric's HeteroConv of SAGEConvs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from gnn.model.aggregate import full_states
from gnn.model.edge_weights import MessageWeights, message_graph
from gnn.model.minibatch import batch_states
from gnn.model.reference import HAS, RELATED, REV_HAS, SIMILAR, EdgeType, ReferenceSage
from gnn.sampling.blocks import BlockSampler, Level, SampledBlock
from graph_store.csr import Csr
from tests.gnn_core.worlds import random_world, small_sage

TOLERANCE = 1e-5
COMBINE = pytest.mark.parametrize("combine", ["concat", "sum"])
WEIGHTING = pytest.mark.parametrize("similar", ["uniform", "softmax"])


def full_edges(csr: Csr) -> tuple[Tensor, Tensor]:
    index = torch.from_numpy(np.stack([csr.indices, csr.edge_rows()]))
    return index, torch.from_numpy(csr.weights)


def block_edges(block: SampledBlock) -> tuple[Tensor, Tensor]:
    receivers = np.repeat(np.arange(len(block.seeds)), block.mask.sum(axis=1))
    index = torch.from_numpy(np.stack([block.neighbours[block.mask], receivers]))
    return index, torch.from_numpy(block.weights[block.mask])


def by_type(
    edges: dict[EdgeType, tuple[Tensor, Tensor]],
) -> tuple[dict[EdgeType, Tensor], dict[EdgeType, Tensor]]:
    return {kind: pair[0] for kind, pair in edges.items()}, {kind: pair[1] for kind, pair in edges.items()}


@COMBINE
@WEIGHTING
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_full_graph_gives_the_same_embeddings(
    combine: str, similar: Literal["uniform", "softmax"], layers: int
) -> None:
    world, model = random_world(), small_sage(combine=combine, num_layers=layers)
    graph = message_graph(world.graph, MessageWeights(similar=similar))
    states = full_states(model, graph, world.x, world.tag_text)
    index, weight = by_type(
        {
            SIMILAR: full_edges(graph.similar),
            REV_HAS: full_edges(graph.tags_of_image),
            HAS: full_edges(graph.images_of_tag),
            RELATED: full_edges(graph.related),
        }
    )
    inputs = {"image": states.images[0], "tag": states.tags[0]}
    # With uniform weights the reference is SAGEConv as PyG ships it; else its weighted subclass.
    expected = ReferenceSage(model, weighted=similar != "uniform")(inputs, index, weight)
    assert (model.embed_images(states.images) - expected["image"]).abs().max() <= TOLERANCE
    assert (model.embed_tags(states.tags) - expected["tag"]).abs().max() <= TOLERANCE


def level_inputs(level: Level, images: Tensor, tags: Tensor) -> dict[EdgeType, tuple[Tensor, Tensor]]:
    """(senders, receivers) of each relation of one sampled level."""
    own_images, own_tags = images[level.own_images], tags[level.own_tags]
    return {
        SIMILAR: (images, own_images),
        REV_HAS: (tags, own_images),
        HAS: (images, own_tags),
        RELATED: (tags, own_tags),
    }


@COMBINE
@WEIGHTING
def test_sampled_blocks_give_the_same_embeddings(
    combine: str, similar: Literal["uniform", "softmax"]
) -> None:
    world, model = random_world(seed=1), small_sage(combine=combine)
    graph = message_graph(world.graph, MessageWeights(similar=similar))
    sampler = BlockSampler(graph, (4, 3))
    batch = sampler.sample(np.arange(0, 60, 3), np.arange(14), np.random.default_rng(2))
    reference = ReferenceSage(model, weighted=similar != "uniform")

    states = batch_states(model, batch, world.x, world.tag_text)
    assert batch.input_tags is not None
    listed = torch.from_numpy(batch.input_tags)
    nodes = {"image": world.x, "tag": model.input_tags(world.tag_text[listed], listed)}
    for number, level in enumerate(batch.levels, start=1):
        index, weight = by_type(
            {
                SIMILAR: block_edges(level.similar),
                REV_HAS: block_edges(level.tags_of_image),
                HAS: block_edges(level.images_of_tag),
                RELATED: block_edges(level.related),
            }
        )
        nodes = reference.layer(number, level_inputs(level, nodes["image"], nodes["tag"]), index, weight)
    expected = {kind: torch.nn.functional.normalize(state, dim=1) for kind, state in nodes.items()}
    assert (model.embed_images(states.images) - expected["image"]).abs().max() <= TOLERANCE
    assert (model.embed_tags(states.tags) - expected["tag"]).abs().max() <= TOLERANCE


def test_the_paper_model_embeds_into_256_dimensions_of_unit_norm() -> None:
    world, model = random_world(), small_sage(hidden=128, tag_dim=128)
    states = full_states(model, message_graph(world.graph, MessageWeights()), world.x, world.tag_text)
    embedded = model.embed_images(states.images)
    assert embedded.shape == (60, 256) and model.dim == 256
    assert torch.allclose(embedded.norm(dim=1), torch.ones(60), atol=1e-5)


def test_an_unseen_tag_is_spoken_for_by_its_text_alone() -> None:
    model = small_sage()
    text = torch.randn(1, 7)
    seen, unseen = (model.input_tags(text, torch.tensor([tag])) for tag in (3, -1))
    assert torch.allclose(seen - unseen, model.tag_table.weight[3:4], atol=1e-6)
    assert model.tag_text is not None and torch.allclose(unseen, model.tag_text(text))
    assert torch.equal(small_sage(text_dim=0).input_tags(text, torch.tensor([-1])), torch.zeros(1, 6))
