"""The part of the default model that names tags, and leaving an indexed image out of what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gnn.evaluation.mlp import MlpConfig, MlpInputs, build_network
from gnn.graph_data import GraphData
from gnn.kernel_candidates import Candidate
from gnn.kernel_fit import Ground, lay_ground, naming_model, solved_model
from gnn.model.kernel_config import KernelSageConfig
from gnn.model.kernel_sage import KernelSage
from gnn.model.tag_namer import TagNamer
from gnn.naming_fit import NETWORKS, NamerFitting, NamingData, fit_slopes, folded
from gnn.naming_recipes import FREE, HIDDEN, LONG, SHALLOW, NamingRecipe, recipes_for
from gnn.presets import DEFAULT
from gnn.query import QueryEngine
from gnn.reindex import build_index
from tests.gnn.worlds import drawn_data, trained

WIDTH, TAGS = 5, 4


def drawn(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layers", [1, 2])
def test_folded_networks_say_the_mean_of_what_they_say_on_standardised_inputs(layers: int) -> None:
    axes = torch.linalg.qr(drawn(9, WIDTH, 0)).Q
    looks, votes = drawn(20, WIDTH, 1), drawn(20, TAGS, 2).abs()
    features = (looks @ axes.T).numpy()
    scaler = MlpInputs.fit(features, votes.numpy())
    inputs = scaler(features, votes.numpy())
    config = MlpConfig(hidden=6, layers=layers)
    networks = [build_network(inputs.shape[1], TAGS, config).eval() for _ in range(3)]
    namer = TagNamer(WIDTH, TAGS, 18, deep=3 if layers == 2 else 0)
    namer.load_state_dict({**namer.state_dict(), **folded(networks, scaler, axes)})
    with torch.no_grad():
        expected = torch.stack([network(inputs) for network in networks]).mean(dim=0)
    torch.testing.assert_close(namer.perceptron(looks, votes), expected, atol=1e-5, rtol=1e-4)


def test_a_tag_whose_expectation_is_noise_is_heard_less_than_one_whose_is_not() -> None:
    truth = (drawn(800, 2, 3) > 0.5).float()
    expected = torch.stack([truth[:, 0] + 0.3 * drawn(800, 1, 4)[:, 0], drawn(800, 1, 5)[:, 0]], dim=1)
    slopes, _ = fit_slopes(expected, torch.zeros(800, 2), truth)
    assert slopes[0, 0] > 5 * slopes[0, 1].abs()


@pytest.mark.parametrize(
    ("recipe", "images", "epochs"),
    [
        (SHALLOW, 100, 40),
        (SHALLOW, 5000, 16),
        (LONG, 2000, 86),
        (LONG, 4833, 45),
        (FREE, 12_000, 30),
        (FREE, 45_000, 20),
        (FREE, 300_000, 5),
    ],
)
def test_small_catalogues_get_more_epochs_and_very_large_ones_fewer(
    recipe: NamingRecipe, images: int, epochs: int
) -> None:
    assert recipe.at(images).epochs == epochs


@pytest.mark.parametrize(
    ("images", "recipes"), [(1999, [SHALLOW]), (2000, [SHALLOW, LONG]), (6000, [SHALLOW, LONG, FREE])]
)
def test_a_catalogue_is_spared_ways_of_training_that_only_larger_ones_need(
    images: int, recipes: list[NamingRecipe]
) -> None:
    assert recipes_for(images) == recipes


LEARNT = NamingRecipe(MlpConfig(hidden=16, layers=2, batch=32, learning_rate=5e-3, epochs=40), 0, 40)
UNLEARNT = NamingRecipe(MlpConfig(hidden=16, batch=32, learning_rate=1e-5, epochs=1), 0, 1)


@pytest.mark.parametrize("recipes", [[UNLEARNT, LEARNT], [LEARNT, UNLEARNT]])
def test_the_recipe_that_says_best_what_is_in_unseen_pictures_is_taken(
    recipes: list[NamingRecipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnn.naming_fit.recipes_for", lambda images: recipes)
    looks, votes = drawn(400, WIDTH, 6), drawn(400, TAGS, 7).abs()
    truth = (looks[:, :TAGS] > 0).float()
    seen, unseen = slice(300), slice(300, None)
    fitting = NamerFitting(NamingData(looks[seen], torch.eye(WIDTH), votes[seen], votes[seen], truth[seen]))
    best = fitting.best_recipe(looks[unseen], votes[unseen], truth[unseen])
    assert best is LEARNT
    named = fitting.namer(best).perceptron(looks[unseen], votes[unseen]) > 0
    assert (named == truth[unseen].bool()).float().mean() > 0.85


def test_what_was_tried_before_changes_no_namer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnn.naming_fit.recipes_for", lambda images: [UNLEARNT, LEARNT])
    looks, votes = drawn(100, WIDTH, 8), drawn(100, TAGS, 9).abs()
    data = NamingData(looks, torch.eye(WIDTH), votes, votes, (looks[:, :TAGS] > 0).float())
    compared = NamerFitting(data, seed=3)
    compared.best_recipe(looks, votes, data.truth)
    after, alone = compared.namer(LEARNT).state_dict(), NamerFitting(data, seed=3).namer(LEARNT).state_dict()
    assert all(torch.equal(after[name], alone[name]) for name in alone)


@pytest.fixture(scope="module")
def data() -> GraphData:
    return drawn_data()


@pytest.fixture(scope="module")
def ground(data: GraphData) -> Ground:
    return lay_ground(np.asarray(data.features), data.tags_of_image, data.tag_text, DEFAULT, 0)


@pytest.fixture(scope="module")
def naming(ground: Ground) -> KernelSage:
    return naming_model(ground, Candidate())


def test_an_indexed_image_is_told_of_as_if_it_had_never_been_learnt_from(
    ground: Ground, naming: KernelSage
) -> None:
    image = 7
    others = torch.arange(len(ground.inputs)) != image
    without = replace(ground, inputs=ground.inputs[others], targets=ground.targets[others])
    asked = ground.inputs[[image]] * naming.input_weights()
    expected = solved_model(without, Candidate()).predict(asked)
    torch.testing.assert_close(naming.predict_apart(asked), expected, atol=0.02, rtol=0)
    assert not torch.allclose(naming.predict(asked), expected, atol=0.1)


def test_a_new_picture_is_told_of_by_all_landmarks(ground: Ground, naming: KernelSage) -> None:
    new = drawn(3, ground.inputs.shape[1], 8)
    assert torch.equal(naming.predict_apart(new), naming.predict(new))


def test_the_tag_view_may_hear_the_perceptron_otherwise_than_naming_does(
    ground: Ground, naming: KernelSage
) -> None:
    state = ground.states[:5]
    model = KernelSage(replace(naming.config, named_view=True, naming_share=0.3, view_share=1.0))
    model.load_state_dict(naming.state_dict())
    with torch.inference_mode():
        predicted = model.predict(model.readout_inputs(state))
        tags = predicted[:, model.config.jaccard_rank :]
        view, likely = model.view_sets(state, predicted), model.likely_sets(state, predicted)
        assert view is not None and torch.equal(view, model.named(state, tags, 1.0))
        assert torch.equal(likely, model.named(state, tags, 0.3)) and not torch.allclose(view, likely)
        model.config = replace(model.config, view_share=None)
        as_named = model.view_sets(state, predicted)
        assert as_named is not None and torch.equal(as_named, likely)


def test_a_tagged_vocabulary_small_enough_has_a_namer_of_all_networks(naming: KernelSage) -> None:
    assert naming.config.naming_hidden == HIDDEN * NETWORKS
    assert not naming.config.naming_deep


def test_a_model_whose_perceptrons_have_a_second_layer_says_the_same_when_it_is_loaded(
    ground: Ground,
) -> None:
    model = naming_model(ground, Candidate(), lambda _: FREE)
    assert model.config.naming_deep == NETWORKS
    again = KernelSage(KernelSageConfig(**model.config.to_dict()))
    again.load_state_dict(model.state_dict())
    state = ground.states[:9]
    torch.testing.assert_close(again.expected_sets(state), model.expected_sets(state))


def test_a_tag_that_was_taken_from_an_indexed_image_is_named_again(data: GraphData, tmp_path: Path) -> None:
    carries = data.tags_of_image.degrees() >= 2
    engine = QueryEngine(build_index(trained(data, tmp_path), data))
    rows = np.flatnonzero(carries)
    true = [set(data.tags_of_image.row(row)[0].tolist()) for row in rows]
    best = np.argsort(-engine.tag_scores_of(rows), axis=1)
    found = [
        len(set(named[: len(own)].tolist()) & own) / len(own) for named, own in zip(best, true, strict=True)
    ]
    assert np.mean(found) > 0.7


def test_missing_tags_are_those_that_an_image_does_not_carry(data: GraphData, tmp_path: Path) -> None:
    engine = QueryEngine(build_index(trained(data, tmp_path), data))
    row = int(np.flatnonzero(data.tags_of_image.degrees() == 2)[0])
    own = {engine.tag_names[tag] for tag in engine.tags_of(row)}
    missing = engine.predict_tags_of(row, 100, missing=True)
    every = engine.predict_tags_of(row, 100)
    assert {name for name, _ in every} - {name for name, _ in missing} == own
    assert [pair for pair in every if pair[0] not in own] == missing
