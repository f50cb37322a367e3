"""The simple rankings, on toy data where the right answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from gnn.evaluation.baselines import (
    Neighbours,
    RidgePredictor,
    SearchBaseline,
    TagSpace,
    VotePredictor,
    Whitening,
    hard_filter_scores,
    unit_rows,
)
from gnn.evaluation.grids import Grids
from gnn.evaluation.metrics import ideal_gains, ndcg_at_k, ranked_gains
from gnn.evaluation.mlp import MlpConfig, train_network
from gnn.evaluation.relevance import TagTable, jaccard_gains
from gnn.evaluation.tuning import fit_baselines
from gnn.naming_recipes import FREE, LONG, recipes_for
from graph_store.csr import Csr


def clusters(
    seed: int, images: int = 240, groups: int = 6, noise: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Noisy features around `groups` centres; tags: the group and, half the time, the next."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(groups, 16))
    group = rng.integers(0, groups, images)
    truth = np.eye(groups, dtype=bool)[group]
    second = rng.random(images) < 0.5
    truth[second, (group[second] + 1) % groups] = True
    features = truth @ centres + noise * rng.normal(size=(images, 16))
    return unit_rows(features), truth


def test_jaccard_by_hand() -> None:
    a = TagTable.from_dense(np.array([[1, 1, 0], [0, 0, 0]], dtype=bool))
    b = TagTable.from_dense(np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=bool))
    assert_allclose(jaccard_gains(a, b), [[1, 1 / 3, 0], [0, 0, 0]])


def test_a_tag_table_ignores_negative_and_parallel_edges() -> None:
    tags = Csr.from_edges([0, 0, 0, 1], [1, 1, 2, 0], [1.0, 0.5, -1.0, 2.0], num_rows=3)
    table = TagTable.from_csr(tags, num_tags=4)
    assert_array_equal(table.dense(), np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool))
    assert table.counts().tolist() == [1, 1, 0, 0]
    assert table.tags_of(0).tolist() == [1]
    assert table.csr().num_edges == 2


def test_a_vote_weighs_neighbours_by_softmax_of_similarity() -> None:
    index = np.eye(3, dtype=np.float32)
    tags = TagTable.from_dense(np.eye(3, dtype=bool))
    query = np.array([[0.8, 0.6, 0.0]], dtype=np.float32)
    weight = np.exp(20 * np.array([0.8, 0.6]))
    expected = [*(weight / weight.sum()), 0.0]
    assert_allclose(VotePredictor(index, tags, 2, 20.0).predict(query)[0], expected, rtol=1e-5)


def test_an_indexed_image_does_not_vote_for_itself() -> None:
    index = np.eye(3, dtype=np.float32)
    found = Neighbours.find(index, index, 3, own=np.arange(3))
    assert found.rows.shape == (3, 2)
    assert (found.rows != np.arange(3)[:, None]).all()


def test_full_whitening_makes_the_covariance_the_identity() -> None:
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(500, 4)) * [1, 2, 3, 4]).astype(np.float32)
    whitening = Whitening.fit(features, dim=4, power=1.0)
    projected = (features - whitening.mean) @ whitening.axes
    assert_allclose(projected.T @ projected / 500, np.eye(4), atol=1e-3)


def test_ridge_recovers_a_linear_rule_and_ignores_a_constant_column() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 5)).astype(np.float32)
    features[:, 4] = 3.0
    truth = features[:, :2] > 0
    ridge = RidgePredictor.fit(features, TagTable.from_dense(truth), penalty=0.01)
    assert np.isfinite(ridge.weights).all()
    assert ((ridge.predict(features) > 0.5) == truth).mean() > 0.9


def test_tag_space_is_the_cosine_and_idf_lifts_rare_tags() -> None:
    tags = TagTable.from_dense(np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=bool))
    query = np.array([[1.0, 1.0]], dtype=np.float32)
    assert_allclose(TagSpace.build(tags, 0.0).cosine(query)[0], [2**-0.5] * 4, rtol=1e-5)
    weighted = TagSpace.build(tags, 1.0).cosine(query)[0]
    assert weighted[3] > weighted[0]


def test_known_tags_replace_predicted_ones_and_weight_zero_is_raw() -> None:
    features, truth = clusters(0)
    tags = TagTable.from_dense(truth)
    vote = VotePredictor(features, tags, 10, 20.0)
    search = SearchBaseline(features, vote, TagSpace.build(tags, 0.0))
    gains = jaccard_gains(tags, tags)
    known = ndcg_at_k(ranked_gains(search.scores(features, truth), gains, 5), ideal_gains(gains, 5), 5)
    assert_allclose(known, 1.0)
    raw = SearchBaseline(features, vote, TagSpace.build(tags, 0.0), concept_weight=0.0)
    assert_allclose(raw.scores(features[:3]), features[:3] @ features.T, rtol=1e-5)


def test_hard_filtering_never_returns_an_image_without_the_tag() -> None:
    raw = np.array([[0.9, 0.1]], dtype=np.float32)
    assert hard_filter_scores(raw, np.array([[False, True]])).tolist() == [[-np.inf, pytest.approx(0.1)]]


SMALL = Grids(
    neighbours=(10, 20),
    raw_sharpness=(10.0,),
    whitenings=((8, 0.5),),
    white_sharpness=(10.0,),
    ridge_penalties=(0.1, 1.0),
    idf_powers=(0.0, 0.5),
    concept_weights=(0.5, 0.8),
    mlps=(
        MlpConfig(hidden=32, dropout=0.1, input_dropout=0.0, weight_decay=0.02, batch=32, learning_rate=0.01),
    ),
)


def test_every_learned_baseline_beats_raw_search_where_tags_explain_the_features() -> None:
    features, truth = clusters(0, images=600)
    queries, asked = clusters(1, images=150)
    tags = TagTable.from_dense(truth)
    fitted = fit_baselines(features, tags, seed=0, grids=SMALL)
    gains = jaccard_gains(TagTable.from_dense(asked), tags)
    value = {
        name: float(
            np.nanmean(ndcg_at_k(ranked_gains(b.scores(queries), gains, 5), ideal_gains(gains, 5), 5))
        )
        for name, b in fitted.searches.items()
    }
    assert set(fitted.predictors) == {"vote", "whitened vote", "ridge", "MLP"}
    assert len(value) == 9
    for name in ("vote", "ridge", "MLP"):
        assert value[name] > value["raw kNN"] + 0.05, value
    assert {c.name for c in fitted.choices} == set(value)


def test_fitting_twice_with_one_seed_gives_the_same_scores() -> None:
    features, truth = clusters(0)
    tags = TagTable.from_dense(truth)
    one, two = (fit_baselines(features, tags, seed=5, grids=SMALL) for _ in range(2))
    assert one.choices == two.choices
    for name, search in one.searches.items():
        assert_array_equal(search.scores(features[:4]), two.searches[name].scores(features[:4]))


def test_deep_perceptrons_are_tried_from_as_many_images_as_the_preset_tries_them() -> None:
    grids = Grids()
    for images in (100, LONG.fewest_images - 1, LONG.fewest_images, FREE.fewest_images):
        theirs = {config.dropout for config in grids.mlps_for(images) if config.layers == 2}
        ours = {recipe.network.dropout for recipe in recipes_for(images) if recipe.network.layers == 2}
        assert theirs == ours


def test_deep_perceptrons_are_never_stopped_early() -> None:
    features, truth = clusters(0)
    deep = MlpConfig(hidden=8, layers=2, epochs=12, batch=128, learning_rate=0.0)
    grids = replace(SMALL, mlps=(), deep_mlps=((0, deep),), patience=1)
    epochs: list[int] = []

    def counted(inputs: torch.Tensor, tags: TagTable, config: MlpConfig, **asked: Any) -> nn.Sequential:
        after = asked.pop("after_epoch", None)

        def seen(epoch: int, network: nn.Module) -> bool:
            epochs.append(epoch)
            return after is not None and bool(after(epoch, network))

        return train_network(inputs, tags, config, after_epoch=seen, **asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gnn.evaluation.grids.train_network", counted)
        fit_baselines(features, TagTable.from_dense(truth), grids=grids)
    assert 12 in epochs  # though nothing was learnt after the first


def test_without_tags_only_raw_search_remains() -> None:
    features, _ = clusters(0)
    untagged = TagTable.from_dense(np.zeros((len(features), 0), dtype=bool))
    fitted = fit_baselines(features, untagged)
    assert list(fitted.searches) == ["raw kNN"]
    assert fitted.predictors == {}
