"""The short way for one new picture says what the model says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnn import naming_fit
from gnn.attach import attach, inputs_of
from gnn.model.edge_weights import Weighting, weigh, weigh_row
from gnn.model.kernel_sage import KernelSage
from gnn.model.tag_sets import EXACT_UP_TO
from gnn.naming_recipes import FREE
from gnn.picture_alone import PictureAlone, picture_alone_of
from gnn.projection import principal_projection
from gnn.query import Query, QueryEngine, QueryTag
from gnn.reindex import build_index
from graph_store.csr import Csr
from graph_store.errors import BadInput
from tests.gnn.worlds import data_of, drawn_data, trained

TOLERANCE = 1e-5
"""What every way of computing an embedding is held to. The two differ by less than 5e-6 here."""
IN_ONE_WORLD = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORLDS = ("few tags", "named view", "deep namer", "many tags", "many likely tags", "another space", "paper")


def engine_of(world: str, folder: Path) -> QueryEngine:
    data = drawn_data()
    if world.startswith("many"):
        chosen = np.random.default_rng(0).random((240, EXACT_UP_TO + 88)) < 0.02
        data = data_of(chosen, tuple(f"tag {number:03}" for number in range(chosen.shape[1])))
    with pytest.MonkeyPatch.context() as patched:
        if world == "deep namer":
            patched.setattr(naming_fit, "recipes_for", lambda images: [FREE])
        model = trained(data, folder, "paper" if world == "paper" else "default")
    if isinstance(model.model, KernelSage):
        named = world in ("named view", "deep namer", "many likely tags")
        assert model.model.namer or model.model.likely or not named
        model.model.config = replace(model.model.config, named_view=named)
        if world == "deep namer":
            assert model.model.config.naming_deep
            model.model.config = replace(model.model.config, view_share=1.0)
    if world == "another space":
        model = replace(model, space=principal_projection(data.features, 12, 0.5))
    return QueryEngine(build_index(model, data))


@pytest.fixture(scope="module", params=WORLDS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> QueryEngine:
    """Over a vocabulary that is kept apart, whose prediction is the readout's, the namer's or that of a namer
    with two layers; over one that is compressed and whose votes are cut, without and with probabilities of
    its tags; where neighbours are searched on other axes than the model's; and a model that is trained by
    gradients.
    """
    return engine_of(request.param, tmp_path_factory.mktemp("model"))


def alone_in(engine: QueryEngine) -> PictureAlone[object]:
    assert engine.alone is not None
    return engine.alone


def new_picture(engine: QueryEngine, seed: int) -> np.ndarray:
    """[feature_dim]: a stored picture with some noise."""
    rng = np.random.default_rng(seed)
    features = engine.image_features(int(rng.integers(0, engine.num_images)))
    features = features + 0.1 * rng.standard_normal(features.shape).astype(np.float32)
    return (features / np.linalg.norm(features)).astype(np.float32)


@IN_ONE_WORLD
@given(seed=st.integers(0, 10_000), neighbours=st.integers(0, 20))
def test_a_picture_alone_is_embedded_as_the_model_does_it(
    engine: QueryEngine, seed: int, neighbours: int
) -> None:
    index, alone = engine._index, alone_in(engine)
    model, how = index.trained.model, index.trained.preset.weights
    features = new_picture(engine, seed)
    inputs = alone.model.inputs(features)
    np.testing.assert_allclose(
        alone.searched(inputs, features), index.trained.space(features[np.newaxis]), atol=TOLERANCE
    )
    rows, cosines = index.neighbours.search(index.trained.space(features[np.newaxis]), 20, -1.0)
    rows[:, neighbours:] = -1
    similar, weights = alone.weighed(rows, cosines)
    edges = weigh(
        Csr.from_rows([len(similar)], similar, cosines[0, : len(similar)]),
        how.similar,
        how.similar_temperature,
    )
    states = attach(
        model,
        inputs_of(model, features[np.newaxis]),
        edges,
        Csr.empty(1),
        index.states.image_states,
        index.states.tag_states,
    )
    told = alone.model.embedding(alone.model.layers(inputs, alone.model.messages(similar, weights)))
    np.testing.assert_allclose(told, model.embed_images(states)[0].detach().numpy(), atol=TOLERANCE)


def test_a_picture_asked_alone_gets_the_vectors_that_it_gets_beside_others(engine: QueryEngine) -> None:
    pictures = [Query(images=new_picture(engine, seed)[np.newaxis]) for seed in range(4)]
    for picture, together in zip(pictures, engine.embed_many(pictures), strict=True):
        by_itself = engine.embed(picture)
        np.testing.assert_allclose(by_itself.visual, together.visual, atol=TOLERANCE)
        np.testing.assert_allclose(by_itself.conceptual, together.conceptual, atol=TOLERANCE)
        assert (by_itself.attach, by_itself.slider) == (together.attach, together.slider)
        edges, theirs = (np.array(each.list_edges().images) for each in (by_itself, together))
        np.testing.assert_allclose(edges, theirs, atol=TOLERANCE)
        assert by_itself.list_edges().tags == together.list_edges().tags == ()


def test_only_a_new_picture_to_be_like_goes_the_short_way(engine: QueryEngine) -> None:
    one, two = (new_picture(engine, seed) for seed in range(2))
    of = engine._resolver.picture_alone
    for query in (
        Query(images=one),
        Query(images=one[np.newaxis]),
        Query(images=one[np.newaxis], image_weights=(0.5,), attach="image"),
    ):
        np.testing.assert_array_equal(of(query), one)
    for query in (
        Query(images=np.stack([one, two])),
        Query(images=one, image_weights=(-1.0,)),
        Query(images=one, image_weights=(0.0,)),
        Query(images=one, image_rows=(3,)),
        Query(images=one, tags=(QueryTag("red"),)),
        Query(images=one, text="red"),
        Query(images=one, attach="tags"),
        Query(images=np.zeros((0, len(one)), np.float32)),
        Query(indexed_row=2),
    ):
        assert of(query) is None
    with pytest.raises(BadInput):
        of(Query(images=one * np.nan))


@given(
    cosines=st.lists(st.floats(-1, 1, width=32), max_size=8),
    weighting=st.sampled_from(["uniform", "proportional", "softmax"]),
    temperature=st.sampled_from([0.0, 10.0, 20.0]),
)
def test_one_row_is_weighed_as_a_relation_is(
    cosines: list[float], weighting: Weighting, temperature: float
) -> None:
    row = np.array(cosines, np.float32)
    relation = Csr.from_rows([len(row)], np.arange(len(row)), row)
    np.testing.assert_allclose(
        weigh_row(row, weighting, temperature), weigh(relation, weighting, temperature).weights, rtol=1e-6
    )


def test_a_model_without_a_short_way_goes_the_long_one(tmp_path: Path) -> None:
    data = drawn_data()
    index = build_index(trained(data, tmp_path, "graph-rise", epochs=1), data)
    engine = QueryEngine(index)
    assert engine.alone is None
    assert picture_alone_of(index.trained, index.states.image_states, engine._readout) is None
    assert engine.embed(Query(images=new_picture(engine, 0))).attach == "image"
