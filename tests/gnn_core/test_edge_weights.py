"""From stored weights to the weights of a mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnn.model.edge_weights import (
    MessageWeights,
    cap_degree,
    message_graph,
    proportional,
    softmax,
    tag_messages,
    uniform,
)
from gnn.presets import PRESETS, Preset
from graph_store.csr import Csr
from tests.gnn_core.worlds import random_csr, random_world


def row_sums(csr: Csr) -> np.ndarray:
    return np.bincount(csr.edge_rows(), weights=csr.weights, minlength=csr.num_rows)


@given(st.integers(0, 10_000), st.sampled_from(["uniform", "proportional", "softmax"]))
def test_every_filled_row_sums_to_one_and_empty_rows_stay_empty(seed: int, kind: str) -> None:
    csr = random_csr(np.random.default_rng(seed), 20, 15, 6)
    weighed = {"uniform": uniform, "proportional": proportional, "softmax": lambda c: softmax(c, 20.0)}[kind](
        csr
    )
    assert row_sums(weighed) == pytest.approx(np.minimum(csr.degrees(), 1), abs=1e-6)
    assert np.array_equal(weighed.indices, csr.indices)


def test_softmax_gives_the_formula() -> None:
    csr = Csr.from_edges([0, 0, 2], [1, 2, 0], [0.9, 0.7, 0.3], 3)
    expected = np.exp([18.0, 14.0]) / np.exp([18.0, 14.0]).sum()
    assert softmax(csr, 20.0).weights == pytest.approx([*expected, 1.0], rel=1e-5)


def test_softmax_at_temperature_zero_is_the_uniform_mean() -> None:
    csr = random_csr(np.random.default_rng(1), 20, 15, 6)
    assert softmax(csr, 0.0).weights == pytest.approx(uniform(csr).weights)


def test_a_row_without_positive_weight_falls_back_to_the_mean() -> None:
    csr = Csr.from_edges([0, 0, 1], [0, 1, 0], [-0.5, 0.0, -1.0], 2)
    assert proportional(csr).weights == pytest.approx([0.5, 0.5, 1.0])


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_in_every_preset_a_tag_of_a_question_counts_by_its_weight(preset: Preset) -> None:
    asked = Csr.from_rows([2, 3], [0, 1, 0, 1, 2], [1.0, 0.01, 1.0, 1.0, 1.0])
    heard = tag_messages(asked, preset.weights)
    assert heard.row(0)[1] == pytest.approx([1 / 1.01, 0.01 / 1.01])
    assert np.array_equal(heard.row(1)[1], uniform(asked).row(1)[1])


@pytest.mark.parametrize("rows", [0, 3])
def test_a_relation_without_edges_is_left_as_it_is(rows: int) -> None:
    for prepare in (uniform, proportional, lambda c: softmax(c, 20.0), lambda c: cap_degree(c, 2)):
        assert prepare(Csr.empty(rows)).num_edges == 0


def test_capping_keeps_the_heaviest_edges_in_their_order() -> None:
    csr = Csr.from_edges([0] * 4 + [1], [5, 6, 7, 8, 9], [0.2, 0.9, 0.1, 0.8, 0.5], 2)
    capped = cap_degree(csr, 2)
    assert capped.row(0)[0].tolist() == [6, 8]
    assert capped.row(1)[0].tolist() == [9]


def test_capping_breaks_ties_at_random_but_the_same_for_a_seed() -> None:
    csr = Csr.from_edges([0] * 1000, range(1000), [1.0] * 1000, 1)
    one, again, other = cap_degree(csr, 100), cap_degree(csr, 100), cap_degree(csr, 100, seed=1)
    assert one.equals(again) and not one.equals(other)
    assert 400 < one.indices.mean() < 600  # not the first hundred


def test_a_capped_row_keeps_the_same_edges_whatever_rows_come_with_it() -> None:
    csr = Csr.from_edges([0] * 300 + [1] * 200, [*range(300), *range(100, 300)], [1.0] * 500, 2)
    together = cap_degree(csr, 50)
    for row in (0, 1):
        alone = cap_degree(Csr.from_rows([len(csr.row(row)[0])], *csr.row(row)), 50)
        assert alone.row(0)[0].tolist() == together.row(row)[0].tolist()
    assert set(together.row(0)[0]) != set(together.row(1)[0])  # not the same images for every tag


def test_the_message_graph_caps_and_weighs_every_relation() -> None:
    graph = message_graph(random_world().graph, MessageWeights(similar="softmax", max_degree=3))
    for csr in (graph.similar, graph.tags_of_image, graph.images_of_tag, graph.related):
        assert csr.degrees().max() <= 3
        assert row_sums(csr) == pytest.approx(np.minimum(csr.degrees(), 1), abs=1e-6)
