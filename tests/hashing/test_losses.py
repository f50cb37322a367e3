"""The losses give their formulas and the right gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gnn.hashing.losses import balance_loss, centre_loss, label_loss, quantisation_loss, rank_list_loss


def vectors(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


TAGS = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.float64)


def test_the_rank_list_loss_is_the_cross_entropy_of_the_two_orders() -> None:
    queries, items = vectors(1, 4).detach(), vectors(3, 4, seed=1).detach()
    relevance = torch.tensor([[0.5, 0.0, 1.0]], dtype=torch.float64)
    own = torch.tensor([[False, False, True]])
    near = [float(queries[0] @ items[n]) / 4 / 0.2 for n in range(2)]
    wanted = np.exp([2.5, 0.0]) / np.exp([2.5, 0.0]).sum()
    expected = -sum(w * (x - np.log(np.exp(near).sum())) for w, x in zip(wanted, near, strict=True))
    assert float(rank_list_loss(queries, items, relevance, own, 0.2)) == pytest.approx(expected)


def test_ranking_as_the_labels_do_costs_less_than_the_reverse() -> None:
    query = torch.ones(1, 4)
    items = torch.tensor([[1.0, 1, 1, 1], [1, 1, -1, -1], [-1, -1, -1, -1]])
    relevance, none = torch.tensor([[1.0, 0.5, 0.0]]), torch.zeros(1, 3, dtype=torch.bool)
    right = rank_list_loss(query, items, relevance, none, 0.5)
    assert right < rank_list_loss(query, items.flip(0), relevance, none, 0.5)


def test_the_label_loss_gives_each_tag_of_an_image_an_equal_share() -> None:
    logits = vectors(3, 3).detach()
    log = torch.log_softmax(logits, dim=1)
    expected = (-(log[0, 0] + log[0, 1]) / 2 - log[1, 1]) / 2  # the third image has no tag and does not count
    assert float(label_loss(logits, TAGS)) == pytest.approx(float(expected))


def test_a_code_at_the_middle_of_its_tags_centres_costs_nothing() -> None:
    centres = vectors(3, 4).detach()
    codes = torch.tanh(torch.stack([centres[:2].mean(dim=0), centres[1], centres[2]]))
    assert float(centre_loss(codes, TAGS, centres)) == pytest.approx(0.0)
    moved = codes.clone()
    moved[1] += 0.5
    assert float(centre_loss(moved, TAGS, centres)) == pytest.approx(0.25 / 2)


def test_hard_and_balanced_bits_cost_nothing() -> None:
    codes = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert float(quantisation_loss(codes)) == 0.0
    assert float(balance_loss(codes)) == 0.0
    assert float(quantisation_loss(codes / 2)) == pytest.approx(0.25)
    assert float(balance_loss(codes.abs())) == pytest.approx(1.0)


def test_nothing_tagged_costs_nothing() -> None:
    empty = torch.zeros(2, 3)
    assert float(label_loss(torch.randn(2, 3), empty)) == 0.0
    assert float(centre_loss(torch.randn(2, 4), empty, torch.randn(3, 4))) == 0.0


def test_the_gradients_are_right() -> None:
    own = torch.tensor([[True, False, False], [False, False, False]])
    relevance = torch.tensor([[0.0, 1.0, 0.5], [0.3, 0.0, 0.0]], dtype=torch.float64)
    pair = vectors(2, 4), vectors(3, 4, seed=1)
    assert torch.autograd.gradcheck(lambda q, n: rank_list_loss(q, n, relevance, own, 0.5), pair)
    assert torch.autograd.gradcheck(lambda x: label_loss(x, TAGS), (vectors(3, 3),))
    assert torch.autograd.gradcheck(
        lambda b, c: centre_loss(b, TAGS, c), (vectors(3, 4), vectors(3, 4, seed=1))
    )
    assert torch.autograd.gradcheck(lambda b: quantisation_loss(b) + balance_loss(b), (vectors(3, 4),))
