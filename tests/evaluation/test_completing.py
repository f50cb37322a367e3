"""The baselines of *incomplete* and *completion*, tuned anew on the tags that are left."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gnn.evaluation import systems
from gnn.evaluation.baselines import SearchBaseline, TagSpace, VotePredictor, unit_rows
from gnn.evaluation.completing import Completing, tune_completing
from gnn.evaluation.grids import Grids
from gnn.evaluation.metrics import top_k
from gnn.evaluation.mlp import MlpConfig
from gnn.evaluation.protocol.incomplete import hide_edges
from gnn.evaluation.refined_run import _filtered, _rows_told, _rows_without
from gnn.evaluation.relevance import TagTable, chunks
from gnn.evaluation.tuning import MLP, WHITENED_VOTE, Baselines, fit_baselines
from graph_store.arrays import Float32Array

SMALL = Grids(
    neighbours=(2,),
    raw_sharpness=(10.0,),
    whitenings=((8, 0.5),),
    white_sharpness=(10.0,),
    ridge_penalties=(1.0,),
    idf_powers=(0.0,),
    concept_weights=(0.5, 0.9),
    mlps=(MlpConfig(hidden=16, batch=32, learning_rate=0.01, epochs=3),),
    deep_mlps=(),
    hidden_neighbours=(2, 60),
)


def catalogue(noise: float, images: int = 240, groups: int = 12) -> tuple[Float32Array, TagTable]:
    """Images around as many centres as there are tags, each with the tag of its centre and of the next."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, groups, images)
    truth = np.eye(groups, dtype=bool)[group]
    truth[np.arange(images), (group + 1) % groups] = True
    features = truth @ rng.normal(size=(groups, 16)) + noise * rng.normal(size=(images, 16))
    return unit_rows(features), TagTable.from_dense(truth)


def half(tags: TagTable) -> TagTable:
    return TagTable.from_csr(hide_edges(tags.csr(), seed=3), tags.num_tags)


@pytest.fixture(scope="module")
def tuned() -> tuple[Baselines, Completing]:
    features, tags = catalogue(noise=1.0)
    baselines = fit_baselines(features, tags, grids=SMALL)
    found = tune_completing(features, half(tags), baselines, SMALL, 0)
    assert found is not None
    return baselines, found


def test_more_neighbours_are_asked_where_half_of_the_tags_are_hidden(
    tuned: tuple[Baselines, Completing],
) -> None:
    baselines, found = tuned
    assert baselines.recipes[WHITENED_VOTE][0].settings["k"] == 2
    assert found.finding[WHITENED_VOTE].settings["k"] == found.naming[WHITENED_VOTE].settings["k"] == 60


def test_hidden_tags_are_named_by_the_perceptron_that_was_chosen_for_naming(
    tuned: tuple[Baselines, Completing],
) -> None:
    baselines, found = tuned
    assert (found.finding[MLP], found.naming[MLP]) == baselines.recipes[MLP]
    assert {choice.name for choice in found.choices()} == {
        "whitened vote, completing tags",
        "MLP, completing tags",
        "whitened vote, naming hidden tags",
        "MLP, naming hidden tags",
        "one tag + raw",
    }


def test_looks_weigh_more_where_the_predictions_say_nothing(tuned: tuple[Baselines, Completing]) -> None:
    features, tags = catalogue(noise=1.0)
    weights = []
    for neighbours, sharpness in ((20, 5.0), (60, -20.0)):  # the last asks the least alike
        grids = replace(
            SMALL,
            hidden_neighbours=(neighbours,),
            white_sharpness=(sharpness,),
            looks_weights=(0.03, 0.5),
        )
        found = tune_completing(features, half(tags), tuned[0], grids, 0)
        assert found is not None
        weights.append(found.looks[WHITENED_VOTE])
    assert weights == [0.03, 0.5]


def test_nothing_is_tuned_where_hardly_any_image_has_a_tag_left(
    tuned: tuple[Baselines, Completing],
) -> None:
    features, tags = catalogue(noise=1.0)
    few = TagTable.from_dense(tags.dense() & (np.arange(tags.num_images) < 9)[:, None])
    assert tune_completing(features, few, tuned[0], SMALL, 0) is None


def test_questions_answered_part_by_part_find_what_all_at_once_find(monkeypatch: pytest.MonkeyPatch) -> None:
    features, tags = catalogue(noise=1.0, images=60)
    asked = np.arange(8) % tags.num_tags
    space = TagSpace.build(tags, 0.0)
    search = SearchBaseline(features, VotePredictor(features, tags, 5, 10.0), space, 0.7)
    carries = np.asarray(tags.matrix.tocsc()[:, asked].toarray().T > 0)
    likeness = features[:8] @ features.T

    class Asked:
        index_features, known_index_tags = features, tags

    monkeypatch.setattr(systems, "chunks", partial(chunks, budget=1))
    filtered = _filtered(Asked, features[:8], asked, 5)  # type: ignore[arg-type]  # all that is read
    assert_array_equal(filtered, top_k(likeness + np.float32(2) * carries, 5))
    without = _rows_without(search, features[:8], tags, asked)
    assert_array_equal(without, top_k(np.where(carries, -np.inf, search.scores(features[:8])), 20))
    predicted = search.predictor.predict(features[:8])  # type: ignore[union-attr]  # given above
    predicted[np.arange(8), asked] = 1
    told = np.float32(0.7) * space.cosine(predicted) + np.float32(0.3) * likeness
    assert_array_equal(_rows_told(search, features[:8], asked, 1.0), top_k(told, 20))
