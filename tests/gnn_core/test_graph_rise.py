"""What preset `graph-rise` draws in a step, neighbours and tags, stands for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gnn.model.edge_weights import MessageWeights
from gnn.model.rise_sage import RiseConfig, RiseSage
from gnn.objectives.graph_rise import GraphRiseObjective, RiseObjectiveConfig
from gnn.objectives.regularity import Normaliser, graph_regularity
from graph_store.csr import Csr
from graph_store.graph import Graph

FEATURES = 6


def objective_over(similar: Csr, has: Csr, tags: int, **changes: Any) -> GraphRiseObjective:
    images = similar.num_rows
    graph = Graph(images, tags, similar, has, has.transpose(tags), Csr.empty(tags))
    model = RiseSage(RiseConfig(feature_dim=FEATURES, width=4, num_tags=tags, hidden=4, dim=4))
    config = RiseObjectiveConfig(**{"validation_share": 0.0, **changes})
    return GraphRiseObjective(model, graph, torch.zeros(images, FEATURES), MessageWeights(), config)


def unevenly_joined(**changes: Any) -> GraphRiseObjective:
    """Image 0 has one neighbour, 1 has four of unequal weight, 2 has none, 3 one that weighs nothing."""
    similar = Csr.from_edges([0, 1, 1, 1, 1, 3], [1, 0, 2, 3, 4, 0], [0.9, 0.2, 0.9, 0.9, -0.2, 0.0], 5)
    has = Csr.from_edges(np.arange(5), np.zeros(5), np.ones(5), 5)
    return objective_over(similar, has, 1, **changes)


@pytest.mark.parametrize("neighbours", [1, 3])
@pytest.mark.parametrize(
    ("normaliser", "expected"),
    [
        ("edges", (0.9 * 9 + 0.2 * 9 + 0.9 * 1 + 0.9 * 4) / (0.9 + 0.2 + 0.9 + 0.9)),
        ("degree", ((0.9 * 9) / 0.9 + (0.2 * 9 + 0.9 * 1 + 0.9 * 4) / (0.2 + 0.9 + 0.9)) / 2),
    ],
)
def test_the_regularisation_that_is_drawn_is_on_average_that_of_all_edges(
    normaliser: Normaliser, expected: float, neighbours: int
) -> None:
    objective = unevenly_joined(regularised=neighbours)
    places = torch.tensor([[0.0], [3.0], [4.0], [5.0], [6.0]], dtype=torch.float64)
    batch, rng = np.array([3, 1, 0, 2]), np.random.default_rng(0)
    found = []
    for _ in range(2000):
        near, weights = objective._neighbours(batch, rng)
        others = places[torch.from_numpy(near)].reshape(len(batch), neighbours, -1)
        found.append(float(graph_regularity(places[batch], others, weights.double(), normaliser)))
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / np.sqrt(len(found)))


def test_an_edge_that_weighs_nothing_is_never_drawn() -> None:
    objective = unevenly_joined(regularised=500)
    near, weights = objective._neighbours(np.array([1, 3]), np.random.default_rng(0))
    assert set(near[:500]) == {0, 2, 3}
    assert not weights[1].any()


def test_without_similar_edges_each_image_is_its_own_neighbour_without_weight() -> None:
    has = Csr.from_edges([0, 1], [0, 0], [1.0, 1.0], 2)
    objective = objective_over(Csr.empty(2), has, 1, regularised=2)
    near, weights = objective._neighbours(np.array([1, 0]), np.random.default_rng(0))
    assert near.tolist() == [1, 1, 0, 0]
    assert not weights.any()


def test_a_tag_is_corrected_by_how_often_it_is_a_candidate() -> None:
    rng, images, tags = np.random.default_rng(0), 300, 200
    chances = 1 / np.arange(1, tags + 1)
    carried = np.stack([rng.choice(tags, 3, replace=False, p=chances / chances.sum()) for _ in range(images)])
    has = Csr.from_edges(np.repeat(np.arange(images), 3), carried.ravel(), np.ones(3 * images), images)
    objective = objective_over(Csr.empty(images), has, tags, candidates=20)
    rounds, times, said = 1500, np.zeros(tags), np.zeros(tags)
    for _ in range(rounds):
        candidates, log_q = objective._candidates(rng.permutation(images)[:40], rng)
        assert log_q is not None
        times[candidates] += 1
        said[candidates] = np.exp(log_q.numpy())
    rare = (times > 0) & (objective.truth.counts() <= 6)
    assert rare.sum() > 50
    assert said[times > 0] == pytest.approx(times[times > 0] / rounds, abs=0.06)
    assert said[rare].mean() == pytest.approx((times[rare] / rounds).mean(), rel=0.1)


def test_where_all_tags_are_candidates_nothing_is_corrected() -> None:
    objective = unevenly_joined()
    candidates, log_q = objective._candidates(np.array([0, 1]), np.random.default_rng(0))
    assert candidates.tolist() == [0]
    assert log_q is None
