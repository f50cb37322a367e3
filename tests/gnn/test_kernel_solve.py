"""The readout's values against the closed forms of kernel ridge regression."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gnn.kernel_solve import left_out, leverages, solve
from gnn.model.kernels import matern_kernel

LENGTH, RIDGE = 1.3, 0.2


def drawn(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def written_out_kernel(left: Tensor, right: Tensor, length: float) -> Tensor:
    """(1 + r) exp(-r), r = distance / length, one pair at a time in double precision."""
    distance = torch.cdist(left.double(), right.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return (1 + distance / length) * torch.exp(-distance / length)


def read(inputs: Tensor, landmarks: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    return bias + matern_kernel(inputs, landmarks, LENGTH) @ values


@given(seed=st.integers(0, 1000), length=st.floats(0.3, 5))
def test_the_kernel_by_matrix_products_is_the_written_out_one(seed: int, length: float) -> None:
    left, right = drawn(6, 4, seed), drawn(5, 4, seed + 1)
    expected = written_out_kernel(left, right, length)
    torch.testing.assert_close(matern_kernel(left, right, length).double(), expected, atol=1e-5, rtol=1e-5)


def test_a_point_is_wholly_like_itself_and_hardly_like_a_far_one() -> None:
    point = drawn(1, 4)
    assert float(matern_kernel(point, point, 1.0)) == pytest.approx(1.0, abs=1e-3)
    assert float(matern_kernel(point, point + 100, 1.0)) < 1e-30


def test_known_lengths_of_the_landmarks_change_nothing() -> None:
    left, right = drawn(6, 4), drawn(5, 4, 1)
    given_lengths = matern_kernel(left, right, LENGTH, (right * right).sum(dim=1))
    assert torch.equal(given_lengths, matern_kernel(left, right, LENGTH))


def test_all_inputs_as_landmarks_is_kernel_ridge_regression() -> None:
    inputs, targets = drawn(30, 4), drawn(30, 3, 1)
    solution = solve(inputs, targets, inputs, LENGTH, RIDGE)
    gram = written_out_kernel(inputs, inputs, LENGTH) + RIDGE * torch.eye(30, dtype=torch.float64)
    expected = torch.linalg.inv(gram) @ (targets.double() - targets.double().mean(dim=0))
    torch.testing.assert_close(solution.values.double(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(solution.bias, targets.mean(dim=0))


def test_fewer_landmarks_minimise_the_stated_loss() -> None:
    inputs, targets = drawn(40, 4), drawn(40, 2, 1)
    landmarks = inputs[::4]
    solution = solve(inputs, targets, landmarks, LENGTH, RIDGE)

    def loss(values: Tensor) -> float:
        misfit = written_out_kernel(inputs, landmarks, LENGTH) @ values - (targets - solution.bias).double()
        norm = (values * (written_out_kernel(landmarks, landmarks, LENGTH) @ values)).sum()
        return float((misfit**2).sum() + RIDGE * norm)

    least = loss(solution.values.double())
    for seed in range(20):
        assert loss(solution.values.double() + 0.01 * drawn(10, 2, seed).double()) > least


def test_all_inputs_in_another_order_as_landmarks_give_the_same_function() -> None:
    inputs, targets = drawn(30, 4), drawn(30, 3, 1)
    exact = solve(inputs, targets, inputs, LENGTH, RIDGE)
    # Another order is not recognised, so this goes the way of a part of the inputs.
    by_landmarks = solve(inputs, targets, inputs.flip(0), LENGTH, RIDGE)
    asked = drawn(10, 4, 2)
    one, two = (read(asked, s.landmarks, s.values, s.bias) for s in (exact, by_landmarks))
    torch.testing.assert_close(one, two, atol=2e-3, rtol=1e-3)


def test_equal_copies_of_the_inputs_are_recognised_as_the_inputs() -> None:
    inputs, targets = drawn(20, 4), drawn(20, 3, 1)
    one, two = (solve(inputs, targets, marks, LENGTH, RIDGE) for marks in (inputs, inputs.clone()))
    assert torch.equal(one.values, two.values)


@pytest.mark.parametrize("copies", [2, 50])
def test_twins_among_the_landmarks_are_solved_for_all_the_same(copies: int) -> None:
    inputs, targets = drawn(200, 4), drawn(200, 2, 1)
    landmarks = inputs[:5].repeat(copies, 1)
    twins = solve(inputs, targets, landmarks, LENGTH, 1e-6)
    single = solve(inputs, targets, inputs[:5], LENGTH, 1e-6)
    asked = drawn(10, 4, 2)
    one, two = (read(asked, s.landmarks, s.values, s.bias) for s in (twins, single))
    assert bool(torch.isfinite(twins.values).all())
    torch.testing.assert_close(one, two, atol=0.05, rtol=0.05)


def test_an_indefinite_gram_of_twin_inputs_without_ridge_has_finite_values() -> None:
    inputs = drawn(3, 4).repeat(20, 1)
    solution = solve(inputs, drawn(60, 2, 1), inputs, LENGTH, 0.0)
    assert bool(torch.isfinite(solution.values).all())


def test_one_image_is_answered_with_its_own_target() -> None:
    inputs, targets = drawn(1, 4), drawn(1, 3, 1)
    solution = solve(inputs, targets, inputs, LENGTH, RIDGE)
    answer = read(drawn(5, 4, 2), solution.landmarks, solution.values, solution.bias)
    torch.testing.assert_close(answer, targets.expand(5, 3))


def test_a_heavier_ridge_stays_nearer_to_the_mean() -> None:
    inputs, targets = drawn(30, 4), drawn(30, 3, 1)
    away = []
    for ridge in (0.01, 0.1, 1.0, 10.0):
        s = solve(inputs, targets, inputs, LENGTH, ridge)
        away.append(float((read(inputs, s.landmarks, s.values, s.bias) - s.bias).norm()))
    assert away == sorted(away, reverse=True)
    assert math.isfinite(away[0])


@pytest.mark.parametrize("landmarks", [20, 8])
def test_what_is_left_out_is_what_a_solve_without_it_predicts(landmarks: int) -> None:
    inputs, targets = drawn(20, 4), drawn(20, 3, 1)
    targets -= targets.mean(dim=0)
    chosen = inputs if landmarks == len(inputs) else inputs[:landmarks]
    leverage = leverages(inputs, chosen, LENGTH, RIDGE)
    solution = solve(inputs, targets, chosen, LENGTH, RIDGE)
    predicted = read(inputs, chosen, solution.values, solution.bias)
    image = 15
    others = torch.arange(20) != image
    alone = solve(
        inputs[others], targets[others], chosen if landmarks == 8 else inputs[others], LENGTH, RIDGE
    )
    # The bias, a mean over the others, is the one thing that the closed form leaves as it was.
    expected = read(inputs[[image]], alone.landmarks, alone.values, alone.bias)
    found = left_out(targets, predicted, leverage)[[image]]
    torch.testing.assert_close(found, expected, atol=0.15, rtol=0)
    assert ((leverage > 0) & (leverage < 1)).all()
