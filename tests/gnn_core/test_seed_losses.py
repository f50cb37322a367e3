"""Graph regularisation and rank consistency give their formulas and the right gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gnn.objectives.rank_consistency import rank_consistency
from gnn.objectives.regularity import graph_regularity


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


WEIGHTS = torch.tensor([[0.5, 1.0], [0.2, 0.0], [0.0, 0.0]], dtype=torch.float64)


def distance(u: Tensor, v: Tensor) -> float:
    return float(((u - v) ** 2).sum())


def test_edges_alike_is_the_weighted_mean_over_all_edges() -> None:
    ends, others = numbers(3, 4).detach(), numbers(3, 2, 4, seed=1).detach()
    weighted = [(float(WEIGHTS[u, v]), distance(ends[u], others[u, v])) for u in range(3) for v in range(2)]
    expected = sum(w * d for w, d in weighted) / sum(w for w, _ in weighted)
    assert float(graph_regularity(ends, others, WEIGHTS)) == pytest.approx(expected)


def test_divided_by_degree_every_joined_node_counts_once() -> None:
    ends, others = numbers(3, 4).detach(), numbers(3, 2, 4, seed=1).detach()
    means = []
    for u in (0, 1):  # the third has no neighbour
        degree = sum(float(WEIGHTS[u, v]) for v in range(2))
        means.append(sum(float(WEIGHTS[u, v]) * distance(ends[u], others[u, v]) for v in range(2)) / degree)
    assert float(graph_regularity(ends, others, WEIGHTS, "degree")) == pytest.approx(np.mean(means))


@pytest.mark.parametrize("normaliser", ["edges", "degree"])
def test_without_edges_nothing_is_regularised(normaliser: str) -> None:
    ends = numbers(3, 4).detach()
    loss = graph_regularity(ends, numbers(3, 2, 4, seed=1).detach(), torch.zeros(3, 2), normaliser)  # type: ignore[arg-type]  # both are valid
    assert float(loss) == 0.0


@pytest.mark.parametrize("normaliser", ["edges", "degree"])
def test_the_gradient_of_regularisation_is_right(normaliser: str) -> None:
    points = numbers(3, 4), numbers(3, 2, 4, seed=1)
    assert torch.autograd.gradcheck(lambda u, v: graph_regularity(u, v, WEIGHTS, normaliser), points)  # type: ignore[arg-type]  # both are valid


def test_rank_consistency_is_the_cross_entropy_of_the_two_lists() -> None:
    scores, relevance = numbers(2, 3).detach(), torch.tensor([[0.0, 0.5, 1.0], [0.2, 0.0, 0.0]])
    expected = 0.0
    for row in range(2):
        wanted = np.exp(8.0 * relevance[row].numpy())
        found = np.exp(scores[row].numpy() / 0.1)
        expected -= float((wanted / wanted.sum()) @ np.log(found / found.sum()))
    assert float(rank_consistency(scores, relevance.double(), 0.1, 8.0)) == pytest.approx(expected / 2)


def test_a_list_without_anything_relevant_does_not_count() -> None:
    scores, relevance = numbers(2, 3).detach(), torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]]).double()
    both = rank_consistency(scores, relevance, 0.1, 8.0)
    assert float(both) == pytest.approx(float(rank_consistency(scores[:1], relevance[:1], 0.1, 8.0)))
    assert float(rank_consistency(scores[1:], relevance[1:], 0.1, 8.0)) == 0.0


def test_rank_consistency_pulls_the_more_relevant_up() -> None:
    scores = torch.zeros(1, 3, requires_grad=True)
    rank_consistency(scores, torch.tensor([[1.0, 0.5, 0.0]]), 1.0, 8.0).backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    assert scores.grad is not None
    first, second, third = scores.grad[0].tolist()
    assert first < second < third


def test_the_gradient_of_rank_consistency_is_right() -> None:
    relevance = torch.tensor([[0.0, 0.5, 1.0], [0.2, 0.0, 0.0]]).double()
    assert torch.autograd.gradcheck(lambda s: rank_consistency(s, relevance, 0.5, 4.0), (numbers(2, 3),))
