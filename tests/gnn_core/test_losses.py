"""The losses give their formulas and the right gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gnn.losses import random_walk_loss, sampled_softmax
from gnn.model.dropout import FastDropout


def vectors(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def log_sigmoid(value: float) -> float:
    return float(-np.log1p(np.exp(-value)))


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_the_random_walk_loss_is_the_papers_formula(temperature: float) -> None:
    u, v, n = (vectors(rows, 4, seed=seed).detach() for seed, rows in enumerate((3, 3, 5)))
    hits = torch.tensor([[True, False, False, False, False]] + [[False] * 5] * 2)
    expected = 0.0
    for i in range(3):
        kept = [j for j in range(5) if not hits[i, j]]
        repelled = [log_sigmoid(-float(u[i] @ n[j]) / temperature) for j in kept]
        expected -= log_sigmoid(float(u[i] @ v[i]) / temperature) + 5 * float(np.mean(repelled))
    assert float(random_walk_loss(u, v, n, hits, temperature)) == pytest.approx(expected / 3)


def test_negatives_may_be_shared_or_each_pairs_own() -> None:
    u, v, n = vectors(3, 4), vectors(3, 4, seed=1), vectors(5, 4, seed=2)
    own = n.unsqueeze(0).expand(3, 5, 4)
    assert torch.allclose(random_walk_loss(u, v, n), random_walk_loss(u, v, own))
    q, p = torch.zeros(5), torch.zeros(3)
    assert torch.allclose(sampled_softmax(u, v, n, p, q), sampled_softmax(u, v, own, p, q))


def test_the_gradients_are_right() -> None:
    hits = torch.tensor([[True, False, False]] * 2)
    points = vectors(2, 4), vectors(2, 4, seed=1), vectors(3, 4, seed=2)
    assert torch.autograd.gradcheck(lambda u, v, n: random_walk_loss(u, v, n, hits, 0.5), points)
    q, p = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.0, -3.0])
    assert torch.autograd.gradcheck(lambda u, v, n: sampled_softmax(u, v, n, p, q, hits, 0.5), points)


def test_a_hit_has_no_influence() -> None:
    u, v, n = vectors(2, 4), vectors(2, 4, seed=1), vectors(3, 4, seed=2)
    hits = torch.tensor([[False, True, False]] * 2)
    moved = n.detach().clone()
    moved[1] += 10
    for loss in (
        lambda m: random_walk_loss(u, v, m, hits),
        lambda m: sampled_softmax(u, v, m, torch.zeros(2), torch.zeros(3), hits),
    ):
        assert torch.equal(loss(n), loss(moved))


@pytest.mark.parametrize("pairs", [0, 2])
def test_no_pairs_or_only_hits_are_no_trouble(pairs: int) -> None:
    u, v, n = vectors(pairs, 4), vectors(pairs, 4, seed=1), vectors(3, 4, seed=2)
    hits = torch.ones(pairs, 3, dtype=torch.bool)
    for loss in (
        random_walk_loss(u, v, n, hits),
        sampled_softmax(u, v, n, torch.zeros(pairs), torch.zeros(3), hits),
    ):
        loss.backward()
        assert torch.isfinite(loss) and n.grad is not None and torch.isfinite(n.grad).all()


def test_the_sampled_softmax_estimates_the_full_one() -> None:
    classes = vectors(50, 4, seed=1).detach()
    u = vectors(1, 4).detach()
    target = torch.tensor([7])
    full = torch.nn.functional.cross_entropy(u @ classes.T, target)
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(49))
    others = np.delete(np.arange(50), 7)
    drawn = rng.choice(49, size=40_000, p=chances)
    log_q = torch.from_numpy(np.log(chances[drawn] * 40_000))
    estimate = sampled_softmax(u, classes[target], classes[others[drawn]], torch.zeros(1), log_q)
    assert float(estimate) == pytest.approx(float(full), rel=0.02)


def test_dropout_has_the_asked_rate_keeps_the_mean_and_obeys_the_seed() -> None:
    dropout, x = FastDropout(0.2), torch.ones(400, 333)
    torch.manual_seed(3)
    one = dropout(x)
    torch.manual_seed(3)
    assert torch.equal(one, dropout(x))
    assert not torch.equal(one, dropout(x))
    assert float((one == 0).float().mean()) == pytest.approx(0.2, abs=0.005)
    assert float(one.mean()) == pytest.approx(1.0, abs=0.01)
    assert torch.equal(dropout.eval()(x), x)


def test_dropout_lets_gradients_through_where_it_lets_values_through() -> None:
    x = torch.ones(50, 7, requires_grad=True)
    out = FastDropout(0.5)(x)
    out.sum().backward()
    assert x.grad is not None and torch.equal(x.grad, out.detach())


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_impossible_dropout_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="dropout"):
        FastDropout(rate)
