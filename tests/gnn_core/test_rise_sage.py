"""The model of preset `graph-rise`: what its attention weighs, and what its blocks hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gnn.model.aggregate import full_states, weighted_mean
from gnn.model.edge_weights import proportional, uniform
from gnn.model.rise_sage import Gate, RiseConfig, RiseSage
from graph_store.csr import Csr
from graph_store.errors import BadInput
from graph_store.graph import Graph
from tests.gnn_core.worlds import FEATURES, random_world


def small_rise(tags: int = 14, heads: int = 0) -> RiseSage:
    config = RiseConfig(FEATURES, 8, tags, tag_dim=8, hidden=8, dim=6, heads=heads)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RiseSage(config)
        model.get_buffer("axes").normal_()
        for parameter in model.parameters():
            parameter.data.normal_(std=0.5)
    return model.eval()


def messages() -> Graph:
    graph = random_world().graph
    return Graph(
        graph.num_images,
        graph.num_tags,
        proportional(graph.similar),
        uniform(graph.tags_of_image),
        uniform(graph.images_of_tag),
        uniform(graph.related),
    )


def naive_attention(csr: Csr, states: Tensor, gate: Gate) -> Tensor:
    """Head by head and row by row: softmax over the senders of log a_ij + c_j."""
    slices = states.reshape(len(states), gate.heads, -1)
    scores = 3 * torch.tanh(gate.score(states))
    rows = []
    for row in range(csr.num_rows):
        senders, weights = csr.row(row)
        heads = []
        for head in range(gate.heads):
            logits = torch.tensor(np.log(weights)) + scores[senders, head]
            share = torch.softmax(logits, dim=0) if len(senders) else torch.zeros(0)
            heads.append(share @ slices[senders, head])
        rows.append(torch.cat(heads))
    return torch.stack(rows)


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_a_softmax_over_likeness_and_what_the_sender_says_of_itself(heads: int) -> None:
    csr = messages().similar
    gate = Gate(8, heads)
    torch.nn.init.normal_(gate.score.weight)
    states = torch.randn(csr.num_rows, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean = gate.open(weighted_mean(csr, gate(states)))
        torch.testing.assert_close(mean, naive_attention(csr, states, gate), atol=1e-5, rtol=1e-5)


def test_an_untrained_gate_is_the_weighted_mean() -> None:
    csr, gate = messages().similar, Gate(8, 2)
    states = torch.randn(csr.num_rows, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(gate.open(weighted_mean(csr, gate(states))), weighted_mean(csr, states))


def test_a_state_comes_out_of_its_gate_as_it_went_in() -> None:
    gate = Gate(8, 2)
    torch.nn.init.normal_(gate.score.weight)
    states = torch.randn(5, 8)
    torch.testing.assert_close(gate.open(gate(states)), states)


def test_attention_changes_the_embeddings() -> None:
    world, graph = random_world(), messages()
    with torch.no_grad():
        plain, attending = (small_rise(heads=heads) for heads in (0, 2))
        attending.load_state_dict(plain.state_dict(), strict=False)
        before, after = (
            model.meaning(full_states(model, graph, world.x, world.tag_text).images)
            for model in (plain, attending)
        )
    joined = torch.from_numpy(graph.similar.degrees() > 1)
    assert (before - after).abs().amax(dim=1)[joined].min() > 1e-4


@pytest.mark.parametrize("heads", [0, 2])
def test_looks_and_meaning_have_a_block_each(heads: int) -> None:
    world, graph, model = random_world(), messages(), small_rise(heads=heads)
    with torch.no_grad():
        states = full_states(model, graph, world.x, world.tag_text)
        images, tags = model.embed_images(states.images), model.embed_tags(states.tags)
    assert images.shape[1] == tags.shape[1] == model.dim == 8 + 6
    torch.testing.assert_close(images[:, :8].norm(dim=1), torch.ones(len(images)))
    torch.testing.assert_close(images[:, 8:].norm(dim=1), torch.ones(len(images)))
    assert not tags[:, :8].any()


def test_heads_that_do_not_divide_a_width_are_refused() -> None:
    with pytest.raises(BadInput, match="3 heads"):
        small_rise(heads=3)
