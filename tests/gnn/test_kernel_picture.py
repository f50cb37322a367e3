"""The short way for one new picture says what the model says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gnn.attach import attach, inputs_of
from gnn.kernel_picture import PictureAlone
from gnn.model.edge_weights import weigh
from gnn.model.kernel_sage import KernelSage
from gnn.model.tag_sets import EXACT_UP_TO
from gnn.query import Query, QueryEngine
from gnn.reindex import build_index
from graph_store.csr import Csr
from tests.gnn.worlds import data_of, drawn_data, trained

TOLERANCE = 2e-6


@pytest.fixture(scope="module", params=["few tags", "many tags"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> QueryEngine:
    """Over a vocabulary that is kept apart, and over one that is compressed and whose votes are cut."""
    data = drawn_data()
    if request.param == "many tags":
        chosen = np.random.default_rng(0).random((240, EXACT_UP_TO + 88)) < 0.02
        data = data_of(chosen, tuple(f"tag {number:03}" for number in range(chosen.shape[1])))
    model = trained(data, tmp_path_factory.mktemp("model"))
    assert isinstance(model.model, KernelSage)
    model.model.config = replace(model.model.config, named_view=False)
    return QueryEngine(build_index(model, data))


def new_pictures(engine: QueryEngine, num: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, engine.num_images, num)
    features = np.stack([engine.image_features(int(row)) for row in rows])
    features = features + 0.1 * rng.standard_normal(features.shape).astype(np.float32)
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("neighbours", [20, 3, 1, 0])
def test_a_picture_alone_is_embedded_as_the_model_does_it(engine: QueryEngine, neighbours: int) -> None:
    index = engine._index
    model, weights = index.trained.model, index.trained.preset.weights
    alone = PictureAlone.of(model, index.states.image_states)
    assert alone is not None
    for features in new_pictures(engine, 8):
        picture = features[np.newaxis]
        found = engine._neighbours(index.trained.space(picture))
        some = Csr.from_rows([neighbours], found.indices[:neighbours], found.weights[:neighbours])
        similar = weigh(some, weights.similar, weights.similar_temperature)
        states = attach(
            model,
            inputs_of(model, picture),
            similar,
            Csr.empty(1),
            index.states.image_states,
            index.states.tag_states,
        )
        told = alone.embedding(alone.looks(picture), similar.indices, similar.weights)
        np.testing.assert_allclose(told, model.embed_images(states).numpy(), atol=TOLERANCE)


def test_a_picture_asked_alone_gets_the_vectors_that_it_gets_beside_others(engine: QueryEngine) -> None:
    pictures = [Query(images=features[np.newaxis]) for features in new_pictures(engine, 4)]
    for picture, together in zip(pictures, engine.embed_many(pictures), strict=True):
        by_itself = engine.embed(picture)
        np.testing.assert_allclose(by_itself.visual, together.visual, atol=TOLERANCE)
        np.testing.assert_allclose(by_itself.conceptual, together.conceptual, atol=TOLERANCE)
        edges, theirs = (np.array(each.list_edges().images) for each in (by_itself, together))
        np.testing.assert_allclose(edges, theirs, atol=TOLERANCE)


def test_a_model_whose_namer_speaks_goes_the_long_way(engine: QueryEngine) -> None:
    model = engine._index.trained.model
    assert isinstance(model, KernelSage)
    before = model.config
    model.config = replace(before, named_view=True)
    try:
        assert PictureAlone.of(model, engine._index.states.image_states) is None
    finally:
        model.config = before


def test_another_kind_of_model_goes_the_long_way(tmp_path: Path) -> None:
    data = drawn_data()
    index = build_index(trained(data, tmp_path, "paper", epochs=1), data)
    assert PictureAlone.of(index.trained.model, index.states.image_states) is None
