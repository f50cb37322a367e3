"""Random walks stay on edges; negatives follow degree^0.75; negatives that are positives are taken out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from gnn.objectives.holdout import drawn_images, hold_out
from gnn.sampling.negatives import NegativeSampler, accidental_hits
from gnn.sampling.nodes import LinkSet, node_degrees
from gnn.sampling.walks import Pairs, RandomWalker, pairs_from_start, window_pairs
from graph_store.csr import Csr
from graph_store.errors import BadInput
from graph_store.graph import Graph
from tests.gnn_core.worlds import random_world


def linked(graph: Graph, receiver: int, sender: int) -> bool:
    """The plain meaning of LinkSet, one edge at a time."""
    images = graph.num_images
    if receiver < images:
        csr, row = (graph.similar, receiver) if sender < images else (graph.tags_of_image, receiver)
    else:
        csr, row = (graph.images_of_tag if sender < images else graph.related), receiver - images
    return (sender if sender < images else sender - images) in csr.row(row)[0]


@given(st.integers(0, 1000), st.integers(1, 6))
def test_every_step_of_a_walk_follows_an_edge_or_stays_where_there_is_none(seed: int, length: int) -> None:
    graph = random_world(seed).graph
    rng = np.random.default_rng(seed)
    starts = np.arange(graph.num_images + graph.num_tags)
    paths = RandomWalker(graph).walk(starts, length, rng)
    degrees = node_degrees(graph)
    assert np.array_equal(paths[:, 0], starts)
    for a, b in zip(paths[:, :-1].ravel(), paths[:, 1:].ravel(), strict=True):
        assert linked(graph, a, b) if degrees[a] else a == b


def test_walks_cross_between_images_and_tags_as_often_as_asked() -> None:
    everyone = Csr.from_edges(np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4), np.ones(16), 4)
    graph = Graph(4, 4, everyone, everyone, everyone, everyone)
    walker = RandomWalker(graph, image_crossing=0.3, tag_crossing=0.8)
    ends = walker.walk(np.repeat(np.arange(8), 5000), 1, np.random.default_rng(0))[:, 1]
    assert (ends[:20_000] >= 4).mean() == pytest.approx(0.3, abs=0.02)
    assert (ends[20_000:] < 4).mean() == pytest.approx(0.8, abs=0.02)


def test_a_walk_is_the_same_for_the_same_generator() -> None:
    walker = RandomWalker(random_world().graph)
    one, two = (walker.walk(np.arange(60), 5, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one, two)


def test_an_isolated_node_gives_no_pairs() -> None:
    graph = Graph(2, 0, Csr.empty(2), Csr.empty(2), Csr.empty(0), Csr.empty(0))
    rng = np.random.default_rng(0)
    paths = RandomWalker(graph).walk(np.arange(2), 3, rng)
    assert pairs_from_start(paths, rng).source.size == 0
    assert window_pairs(paths, 2).source.size == 0


def test_window_pairs_are_those_at_most_so_many_steps_apart() -> None:
    pairs = window_pairs(np.array([[1, 2, 3, 1]]), 2)
    assert sorted(zip(pairs.source.tolist(), pairs.target.tolist(), strict=True)) == [
        (1, 2),
        (1, 3),
        (2, 1),
        (2, 3),
        (3, 1),
    ]


def test_pairs_from_a_start_begin_with_it_and_end_on_its_walk() -> None:
    graph, rng = random_world().graph, np.random.default_rng(0)
    paths = RandomWalker(graph).walk(np.arange(60), 4, rng)
    pairs = pairs_from_start(paths, rng)
    on_walk = {row[0]: set(row[1:]) for row in paths}
    assert all(v in on_walk[u] and u != v for u, v in zip(pairs.source, pairs.target, strict=True))


def test_negatives_follow_degree_to_the_three_quarters() -> None:
    degrees = np.array([1, 2, 5, 10, 40, 200, 3, 0])
    drawn = NegativeSampler(degrees).sample(50_000, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=8)
    expected = degrees[:7] ** 0.75 / (degrees[:7] ** 0.75).sum() * 50_000
    assert counts[7] == 0
    assert chisquare(counts[:7], expected).pvalue > 0.01
    assert chisquare(counts[:7], degrees[:7] / degrees.sum() * 50_000).pvalue < 1e-9


def test_negatives_are_uniform_when_nothing_is_linked() -> None:
    drawn = NegativeSampler(np.zeros(4, np.int64)).sample(8000, np.random.default_rng(0))
    assert chisquare(np.bincount(drawn, minlength=4)).pvalue > 0.01


def test_there_must_be_a_node_to_draw() -> None:
    with pytest.raises(BadInput):
        NegativeSampler(np.zeros(0, np.int64))


def test_the_chance_to_be_chosen_is_how_often_draws_choose() -> None:
    sampler, rng, rounds = NegativeSampler(np.array([1, 4, 9, 100])), np.random.default_rng(0), 20_000
    drawn = sampler.sample(3 * rounds, rng).reshape(rounds, 3)
    found = (drawn[:, :, None] == np.arange(4)).any(axis=1).mean(axis=0)
    assert np.exp(sampler.log_chosen(np.arange(4), 3)) == pytest.approx(found, abs=0.01)


def test_the_chance_to_be_chosen_counts_those_that_a_batch_puts_there() -> None:
    sampler, rng, rounds = NegativeSampler(np.array([1, 4, 9, 100])), np.random.default_rng(0), 20_000
    forced = np.array([0.3, 0.0, 0.1, 0.2])
    drawn = sampler.sample(3 * rounds, rng).reshape(rounds, 3)
    chosen = (drawn[:, :, None] == np.arange(4)).any(axis=1)
    chosen |= (rng.random((rounds, 5, 4)) < forced).any(axis=1)
    expected = np.exp(sampler.log_chosen(np.arange(4), 3, forced, 5))
    assert expected == pytest.approx(chosen.mean(axis=0), abs=0.01)


def test_what_every_image_carries_is_certain_to_be_chosen() -> None:
    sampler = NegativeSampler(np.array([1, 4, 9, 100]))
    assert sampler.log_chosen(np.arange(4), 3, np.ones(4), 5).tolist() == [0.0] * 4


def test_the_link_set_knows_every_edge_and_no_other() -> None:
    graph = random_world(2).graph
    links, nodes = LinkSet(graph), np.arange(graph.num_images + graph.num_tags)
    found = links.contains(nodes[:, None], nodes[None, :])
    assert all(found[u, v] == linked(graph, u, v) for u in nodes for v in nodes)
    empty = LinkSet(Graph(2, 0, Csr.empty(2), Csr.empty(2), Csr.empty(0), Csr.empty(0)))
    assert not empty.contains(np.array([0, 1]), np.array([1, 0])).any()


def test_accidental_hits_are_the_ends_of_a_pair_and_what_its_source_is_linked_with() -> None:
    has = Csr.from_edges([0, 0, 1], [0, 1, 1], [1, 1, 1], 2)
    graph = Graph(2, 3, Csr.empty(2), has, has.transpose(3), Csr.empty(3))
    pairs = Pairs(np.array([0, 1]), np.array([2, 3]))  # image 0 - tag 0, image 1 - tag 1
    negatives = np.array([2, 3, 4])
    assert accidental_hits(pairs, negatives, None).tolist() == [[True, False, False], [False, True, False]]
    hits = accidental_hits(pairs, negatives, LinkSet(graph))
    assert hits.tolist() == [[True, True, False], [False, True, False]]
    assert accidental_hits(pairs, np.array([[0, 4], [4, 1]]), None).tolist() == [[True, False], [False, True]]


@given(st.integers(0, 1000))
def test_held_out_images_lose_all_their_tags_and_nobody_else_does(seed: int) -> None:
    graph = random_world(seed).graph
    rng = np.random.default_rng(seed)
    held = hold_out(graph, drawn_images(graph.tags_of_image, 0.2, 100, rng))
    for row, image in enumerate(held.images):
        assert np.array_equal(held.hidden.row(row)[0], graph.tags_of_image.row(image)[0])
        assert held.hidden.row(row)[0].size > 0
        assert held.graph.tags_of_image.row(image)[0].size == 0
    assert held.graph.tags_of_image.num_edges + held.hidden.num_edges == graph.tags_of_image.num_edges
    assert held.graph.images_of_tag.equals(held.graph.tags_of_image.transpose(graph.num_tags))


def test_a_single_tagged_image_is_not_held_out() -> None:
    has = Csr.from_edges([0], [0], [1.0], 2)
    graph = Graph(2, 1, Csr.empty(2), has, has.transpose(1), Csr.empty(1))
    drawn = drawn_images(has, 0.5, 10, np.random.default_rng(0))
    assert drawn.size == hold_out(graph, drawn).images.size == 0
