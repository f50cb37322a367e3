"""Sampled neighbours and blocks: inside their rows, fair, and exact when nothing is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gnn.model.aggregate import full_states, weighted_mean
from gnn.model.edge_weights import MessageWeights, message_graph, softmax, uniform
from gnn.model.minibatch import batch_states
from gnn.sampling import blocks
from gnn.sampling.blocks import BlockSampler, sample_block
from gnn.sampling.neighbours import pick_neighbours
from graph_store.csr import Csr
from graph_store.errors import BadInput
from tests.gnn_core.worlds import random_csr, random_world, small_sage


@given(st.integers(0, 10_000), st.integers(1, 9))
def test_sampling_never_leaves_a_row_and_never_repeats_an_edge(seed: int, fan_out: int) -> None:
    rng = np.random.default_rng(seed)
    csr = random_csr(rng, 25, 30, 20)
    rows = rng.integers(0, 25, size=40)
    picks = pick_neighbours(csr, rows, fan_out, rng)
    for row, edges, mask in zip(rows, picks.edges, picks.mask, strict=True):
        chosen = edges[mask]
        assert len(set(chosen)) == len(chosen) == min(fan_out, csr.degrees()[row])
        assert all(csr.indptr[row] <= edge < csr.indptr[row + 1] for edge in chosen)


@pytest.mark.parametrize(("degree", "fan_out"), [(26, 25), (30, 7), (100, 10), (9, 8)])
def test_every_neighbour_has_the_same_chance(degree: int, fan_out: int) -> None:
    rows = 20_000
    csr = Csr.from_edges(np.zeros(degree), range(degree), np.ones(degree), 1)
    picks = pick_neighbours(csr, np.zeros(rows, np.int64), fan_out, np.random.default_rng(0))
    share = np.bincount(picks.edges.ravel(), minlength=degree) / rows
    expected = fan_out / degree
    assert share == pytest.approx(np.full(degree, expected), abs=6 * np.sqrt(expected / rows))


def test_the_last_pick_stays_in_its_row_when_the_start_is_just_below_one() -> None:
    class AlmostOne(np.random.Generator):
        def random(self, *args: Any, **kwargs: Any) -> Any:
            return np.full(args[0], np.nextafter(1.0, 0.0))

    for degree in range(4, 200):
        csr = Csr.from_edges(np.zeros(degree), range(degree), np.ones(degree), 1)
        picks = pick_neighbours(csr, np.zeros(1, np.int64), 3, AlmostOne(np.random.PCG64(0)))
        assert picks.edges.max() < degree


def test_a_node_without_neighbours_gets_a_zero_message() -> None:
    csr = uniform(random_csr(np.random.default_rng(3), 10, 12, 4))
    states = torch.randn(12, 5)
    empty = np.flatnonzero(csr.degrees() == 0)
    block = sample_block(csr, empty, 4, np.random.default_rng(0))
    assert torch.equal(block.messages(states), torch.zeros(len(empty), 5))
    assert torch.equal(weighted_mean(csr, states)[empty], torch.zeros(len(empty), 5))


@given(st.integers(0, 10_000), st.booleans())
def test_a_block_with_room_for_all_equals_the_full_message_exactly(seed: int, sharp: bool) -> None:
    rng = np.random.default_rng(seed)
    csr = random_csr(rng, 25, 30, 9)
    csr = softmax(csr, 20.0) if sharp else uniform(csr)
    states = torch.from_numpy(rng.standard_normal((30, 8)).astype(np.float32))
    rows = rng.integers(0, 25, size=40)
    block = sample_block(csr, rows, 9, rng)
    assert torch.equal(block.messages(states), weighted_mean(csr, states)[rows])


def test_sampled_weights_sum_to_one_over_what_was_sampled() -> None:
    rng = np.random.default_rng(0)
    csr = softmax(random_csr(rng, 30, 60, 40), 20.0)
    block = sample_block(csr, np.arange(30), 5, rng)
    assert block.weights.sum(axis=1) == pytest.approx(np.minimum(csr.degrees(), 1), abs=1e-5)
    assert (block.weights[~block.mask] == 0).all()


def test_a_block_is_no_wider_than_its_rows_need() -> None:
    csr = uniform(Csr.from_edges([0, 0, 1, 3, 3, 3], [4, 1, 2, 0, 3, 1], np.ones(6), 4))
    rng = np.random.default_rng(0)
    assert sample_block(csr, np.array([0, 1, 2]), 25, rng).neighbours.tolist() == [[4, 1], [2, 0], [0, 0]]
    assert sample_block(csr, np.array([3, 0]), 2, rng).neighbours.shape == (2, 2)
    assert sample_block(csr, np.array([2]), 25, rng).messages(torch.ones(5, 3)).tolist() == [[0.0] * 3]


def test_sampled_uniform_means_are_unbiased() -> None:
    csr = uniform(Csr.from_edges(np.zeros(37), range(37), np.ones(37), 1))
    states = torch.randn(37, 3, generator=torch.Generator().manual_seed(0))
    block = sample_block(csr, np.zeros(20_000, np.int64), 5, np.random.default_rng(0))
    assert torch.allclose(block.messages(states).mean(0), states.mean(0), atol=0.01)


def test_part_of_the_rows_can_be_aggregated_alone() -> None:
    csr = uniform(random_csr(np.random.default_rng(5), 30, 20, 6))
    states = torch.randn(20, 4)
    assert torch.equal(weighted_mean(csr, states, 7, 19), weighted_mean(csr, states)[7:19])


@pytest.mark.parametrize("compact_images", [False, True])
@pytest.mark.parametrize("compact_tags", [False, True])
@pytest.mark.parametrize("sparse", [0, 64])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_batch_with_room_for_all_equals_the_full_pass(
    compact_images: bool, compact_tags: bool, sparse: int, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_SPARSE", sparse)  # both ways of listing distinct nodes
    world, model = random_world(), small_sage(num_layers=layers)
    graph = message_graph(world.graph, MessageWeights(similar="softmax"))
    whole = full_states(model, graph, world.x, world.tag_text)
    images, tags = np.array([3, 0, 59, 3, 17]), np.array([13, 0, 5])
    sampler = BlockSampler(graph, (60,) * layers, compact_images, compact_tags)
    batch = sampler.sample(images, tags, np.random.default_rng(0))
    states = batch_states(model, batch, world.x, world.tag_text)
    for layer in range(layers + 1):
        assert torch.allclose(states.images[layer], whole.images[layer][images], atol=1e-6)
        assert torch.allclose(states.tags[layer], whole.tags[layer][tags], atol=1e-6)


def test_the_same_generator_draws_the_same_batch() -> None:
    graph = message_graph(random_world().graph, MessageWeights())
    sampler = BlockSampler(graph, (3, 2))
    seeds = np.arange(20), np.arange(5)
    one, two = (sampler.sample(*seeds, np.random.default_rng(7)) for _ in range(2))
    for a, b in zip(one.levels, two.levels, strict=True):
        assert np.array_equal(a.similar.neighbours, b.similar.neighbours)
        assert np.array_equal(a.images_of_tag.neighbours, b.images_of_tag.neighbours)


def test_a_graph_without_tags_or_edges_still_embeds() -> None:
    world, model = random_world(images=3, tags=0), small_sage(tags=0)
    graph = message_graph(world.graph, MessageWeights())
    batch = BlockSampler(graph, (4, 4)).sample(np.arange(3), np.zeros(0, np.int64), np.random.default_rng(0))
    states = batch_states(model, batch, world.x, world.tag_text)
    embedded = model.embed_images(states.images)
    assert torch.allclose(embedded.norm(dim=1), torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("fan_outs", [(), (0,), (3, -1)])
def test_impossible_fan_outs_are_refused(fan_outs: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="fan-outs"):
        BlockSampler(random_world().graph, fan_outs)
