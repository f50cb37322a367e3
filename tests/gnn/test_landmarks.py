"""Which inputs the readout is spanned by: each its own while they are few, centres of clusters beyond."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gnn import landmarks
from gnn.kernel_solve import solve
from gnn.landmarks import (
    EXACT_LANDMARKS,
    MOST_LANDMARKS,
    choose_landmarks,
    landmark_count,
)
from gnn.model.kernels import matern_kernel

LENGTH, RIDGE = 1.0, 0.1


def clustered(rows: int, seed: int) -> Tensor:
    """[rows, 8]: around 40 middles."""
    drawn = torch.Generator().manual_seed(seed)
    middles = torch.randn(40, 8, generator=drawn)
    return middles[torch.randint(40, (rows,), generator=drawn)] + 0.3 * torch.randn(rows, 8, generator=drawn)


@pytest.mark.parametrize(
    ("inputs", "count"),
    [
        (0, 0),
        (EXACT_LANDMARKS, EXACT_LANDMARKS),
        (EXACT_LANDMARKS + 1, MOST_LANDMARKS),
        (1_000_000, MOST_LANDMARKS),
    ],
)
def test_every_input_is_one_up_to_a_bound(inputs: int, count: int) -> None:
    assert landmark_count(inputs) == count


def test_few_inputs_are_their_own_landmarks() -> None:
    inputs = clustered(50, 0)
    assert choose_landmarks(inputs, seed=0) is inputs


def test_a_part_of_a_large_catalogue_has_centres_as_the_whole_has() -> None:
    inputs = clustered(EXACT_LANDMARKS - 500, 0)
    assert choose_landmarks(inputs, seed=0, whole=EXACT_LANDMARKS) is inputs
    assert choose_landmarks(inputs, seed=0, whole=EXACT_LANDMARKS + 1).shape == (MOST_LANDMARKS, 8)


def test_the_same_seed_gives_the_same_landmarks_and_another_gives_others() -> None:
    inputs = clustered(EXACT_LANDMARKS + 500, 0)
    once, again, other = (choose_landmarks(inputs, seed) for seed in (0, 0, 1))
    assert once.shape == (MOST_LANDMARKS, 8)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@pytest.mark.parametrize("seed", [2**31 - 3, 2**31 - 2, 2**31 - 1, 2**32 - 1])
def test_every_seed_of_32_bits_chooses_landmarks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landmarks, "EXACT_LANDMARKS", 50)
    monkeypatch.setattr(landmarks, "MOST_LANDMARKS", 20)
    assert choose_landmarks(clustered(100, 0), seed).shape == (20, 8)


def test_centres_of_clusters_predict_what_all_inputs_predict() -> None:
    inputs, asked = clustered(EXACT_LANDMARKS + 500, 0), clustered(300, 0)
    targets = torch.stack([inputs[:, 0].sin(), (inputs[:, 1] * inputs[:, 2]).tanh()], dim=1)

    def predicted(landmarks: Tensor) -> Tensor:
        solution = solve(inputs, targets, landmarks, LENGTH, RIDGE)
        return solution.bias + matern_kernel(asked, solution.landmarks, LENGTH) @ solution.values

    exact = predicted(inputs)
    error = (predicted(choose_landmarks(inputs, seed=0)) - exact).square().mean()
    assert float(error) < 0.01 * float(exact.var())
