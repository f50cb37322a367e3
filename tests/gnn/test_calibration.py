"""Tag scores as probabilities."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.special import expit

from gnn import calibration_cells
from gnn.calibration import Calibration, fit_calibration
from gnn.calibration_cells import cells_of

SCORES = np.linspace(-0.5, 1.5, 401, dtype=np.float32)


def outcomes(seed: int, bias: float, slope: float, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Scores in [0, 1] and truths that follow a logistic curve in them."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.5, 2.0, count).astype(np.float32)
    return scores, (rng.random(count) < expit(bias + slope * scores)).astype(np.float32)


def log_likelihood(probabilities: np.ndarray, truth: np.ndarray) -> float:
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p)))


CURVES = {"seed": st.integers(0, 1000), "bias": st.floats(-4, 1), "slope": st.floats(-3, 12)}


@given(**CURVES)
def test_probabilities_rise_with_the_score_within_nought_and_one(
    seed: int, bias: float, slope: float
) -> None:
    made = fit_calibration(*outcomes(seed, bias, slope))(SCORES)
    assert made.dtype == np.float32
    assert (np.diff(made) >= 0).all()
    assert made.min() >= 0 and made.max() <= 1


@given(**CURVES)
def test_fitting_never_lowers_the_likelihood(seed: int, bias: float, slope: float) -> None:
    scores, truth = outcomes(seed, bias, slope)
    before, after = Calibration()(scores), fit_calibration(scores, truth)(scores)
    assert log_likelihood(after, truth) >= log_likelihood(before, truth) - 1e-6


def test_scores_that_promise_too_much_are_brought_down_to_what_happens() -> None:
    scores, truth = outcomes(0, bias=-4, slope=5, count=20_000)
    calibration = fit_calibration(scores, truth)
    assert log_likelihood(calibration(scores), truth) > log_likelihood(Calibration()(scores), truth) + 0.02
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1)):
        part = (scores >= low) & (scores < high)
        assert calibration(scores[part]).mean() == pytest.approx(truth[part].mean(), abs=0.03)


@pytest.mark.parametrize("happened", [0.0, 1.0])
def test_where_nothing_varies_scores_stay_as_they_are(happened: float) -> None:
    scores = np.linspace(0, 1, 500, dtype=np.float32)
    assert fit_calibration(scores, np.full(500, happened, np.float32)) == Calibration()


def test_without_a_fit_a_score_in_between_is_its_own_probability() -> None:
    inner = np.linspace(0.001, 0.999, 50, dtype=np.float32)
    np.testing.assert_allclose(Calibration()(inner), inner, atol=1e-5)


def test_the_shape_of_the_scores_is_kept() -> None:
    assert Calibration()(np.zeros((3, 4), np.float32)).shape == (3, 4)


def test_it_comes_back_from_json() -> None:
    fitted = fit_calibration(*outcomes(0, -2, 4))
    again = Calibration(**json.loads(json.dumps(fitted.to_dict())))
    assert_array_equal(again(SCORES), fitted(SCORES))


@pytest.mark.parametrize(("bias", "slope"), [(-7, 9), (-3, 5), (-2, 0.5)])
def test_alike_scores_taken_together_give_the_same_curve(
    bias: float, slope: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, truth = outcomes(0, bias, slope, count=100_000)
    one_by_one = fit_calibration(scores, truth)
    monkeypatch.setattr(calibration_cells, "EXACT_UP_TO", 1000)
    together = fit_calibration(scores, truth)
    for name, value in together.to_dict().items():
        assert value == pytest.approx(one_by_one.to_dict()[name], abs=1e-3)


def test_a_few_scores_far_out_do_not_blur_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, truth = outcomes(0, -3, 5, count=100_000)
    scores[:3] = (-1e6, 1e6, 1e30)
    one_by_one = fit_calibration(scores[3:], truth[3:])
    monkeypatch.setattr(calibration_cells, "EXACT_UP_TO", 1000)
    cells = cells_of(scores, truth)
    near = np.abs(cells.inputs[:, 1]) < 2
    expected = one_by_one(cells.inputs[near, 1].astype(np.float32))
    assert cells.weights.sum() == len(scores)
    assert near.sum() > 1000
    assert (cells.weights[near] @ expected) == pytest.approx(truth[3:].sum(), rel=1e-3)


def test_up_to_four_million_scores_are_fitted_one_by_one() -> None:
    cells = cells_of(*outcomes(0, -3, 5, count=500))
    assert cells.inputs.shape == (500, 3)
    assert (cells.weights == 1).all()


def test_five_million_scores_are_fitted_in_less_than_twice_their_own_room() -> None:
    scores = np.random.default_rng(0).beta(0.5, 8.0, (1000, 5000)).astype(np.float32)
    truth = (scores > 0.4).astype(np.float32)
    tracemalloc.start()
    fit_calibration(scores, truth)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2 * scores.nbytes
