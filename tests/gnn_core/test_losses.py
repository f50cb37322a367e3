"""The losses give their formulas and the right gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gnn.losses import random_walk_loss, sampled_softmax
from gnn.model.dropout import FastDropout


def vectors(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def target_by_target(
    sources: Tensor, candidates: Tensor, log_q: Tensor, rows: Tensor, columns: Tensor, temperature: float
) -> Tensor:
    """The sampled softmax written out: a row of logits for each target, its source's other targets hidden."""
    true = torch.zeros(len(sources), len(candidates), dtype=torch.bool)
    true[rows, columns] = True
    positive = (sources[rows] * candidates[columns]).sum(dim=1) / temperature - log_q[columns]
    logits = (sources[rows] @ candidates.T / temperature - log_q).masked_fill(true[rows], -torch.inf)
    total = torch.logsumexp(torch.cat([positive.unsqueeze(1), logits], dim=1), dim=1)
    return (total - positive).sum() / max(len(rows), 1)


def pairs_of(*targets: list[int]) -> tuple[Tensor, Tensor]:
    """rows, columns: targets[i] are those of source i."""
    pairs = [(row, column) for row, columns in enumerate(targets) for column in columns]
    rows, columns = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    return rows, columns


class Largest(TorchFunctionMode):
    """Sees every operation inside it, and remembers the most elements that one gave."""

    elements = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result


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


def test_the_sampled_softmax_is_the_formula_target_by_target() -> None:
    rows, columns = pairs_of([0, 3, 4], [], [2], [3, 5])
    log_q = torch.tensor([-1.0, -2.0, -0.5, 0.0, -3.0, -0.1], dtype=torch.float64)
    points = vectors(4, 3), vectors(6, 3, seed=1)
    loss, expected = (
        form(*points, log_q, rows, columns, 0.2) for form in (sampled_softmax, target_by_target)
    )
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(loss, points), torch.autograd.grad(expected, points), strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_many_targets_of_few_sources_make_nothing_larger_than_all_logits() -> None:
    sources, candidates = vectors(4, 3), vectors(50, 3, seed=1)
    rows, columns = pairs_of(*[list(range(start, start + 20)) for start in (0, 10, 20, 30)])
    with Largest() as largest:
        sampled_softmax(sources, candidates, torch.zeros(50), rows, columns)
    assert largest.elements == 4 * 50


def test_the_gradients_are_right() -> None:
    hits = torch.tensor([[True, False, False]] * 2)
    points = vectors(2, 4), vectors(2, 4, seed=1), vectors(3, 4, seed=2)
    assert torch.autograd.gradcheck(lambda u, v, n: random_walk_loss(u, v, n, hits, 0.5), points)
    q, pairs = torch.tensor([-1.0, -2.0, -0.5]), pairs_of([0, 2], [1])
    sources, candidates = points[0], points[2]
    assert torch.autograd.gradcheck(lambda u, c: sampled_softmax(u, c, q, *pairs, 0.5), (sources, candidates))


def test_a_hit_has_no_influence() -> None:
    u, v, n = vectors(2, 4), vectors(2, 4, seed=1), vectors(3, 4, seed=2)
    hits = torch.tensor([[False, True, False]] * 2)
    moved = n.detach().clone()
    moved[1] += 10
    assert torch.equal(random_walk_loss(u, v, n, hits), random_walk_loss(u, v, moved, hits))


def test_another_target_of_the_same_source_has_no_influence() -> None:
    u, candidates = vectors(1, 4), vectors(3, 4, seed=1)
    both = sampled_softmax(u, candidates, torch.zeros(3), *pairs_of([0, 1]))
    each = [sampled_softmax(u, candidates[[target, 2]], torch.zeros(2), *pairs_of([0])) for target in (0, 1)]
    assert torch.allclose(both, sum(each) / 2)


@pytest.mark.parametrize("pairs", [0, 2])
def test_no_pairs_or_only_hits_are_no_trouble(pairs: int) -> None:
    u, v, n = vectors(pairs, 4), vectors(pairs, 4, seed=1), vectors(3, 4, seed=2)
    hits = torch.ones(pairs, 3, dtype=torch.bool)
    all_true = pairs_of(*[[0, 1, 2]] * pairs)
    for loss in (
        random_walk_loss(u, v, n, hits),
        sampled_softmax(u, n, torch.zeros(3), *all_true),
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
    log_q = torch.from_numpy(np.concatenate([[0.0], np.log(chances[drawn] * 40_000)]))
    candidates = classes[np.concatenate([[7], others[drawn]])]
    estimate = sampled_softmax(u, candidates, log_q, *pairs_of([0]))
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
