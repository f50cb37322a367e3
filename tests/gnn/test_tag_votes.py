"""What similar images are tagged with names tags, also where the vocabulary is compressed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from gnn.graph_data import GraphData
from gnn.kernel_settling import NAMING_WHOLES
from gnn.model.kernel_sage import KernelSage
from gnn.model.tag_sets import EXACT_UP_TO
from gnn.query import Query, QueryEngine, QueryTag
from gnn.reindex import build_index
from gnn.tag_votes import tag_votes
from gnn.trained_model import TrainedModel
from graph_store.csr import Csr
from tests.gnn.worlds import data_of, drawn_data, trained

MANY = EXACT_UP_TO + 88


@given(seed=st.integers(0, 500), nodes=st.integers(0, 5), images=st.integers(1, 8), tags=st.integers(1, 6))
def test_a_vote_is_the_weighted_mean_of_which_tags_the_similar_images_carry(
    seed: int, nodes: int, images: int, tags: int
) -> None:
    rng = np.random.default_rng(seed)
    near = rng.random((nodes, images)).astype(np.float32) * (rng.random((nodes, images)) < 0.5)
    carried = rng.random((images, tags)) < 0.4
    similar = Csr.from_edges(*np.nonzero(near), near[np.nonzero(near)], nodes)
    has = Csr.from_edges(*np.nonzero(carried), rng.random(int(carried.sum())), images)
    assert_allclose(tag_votes(similar, has, tags), near @ carried, atol=1e-6)


@pytest.fixture(scope="module")
def many_tags() -> GraphData:
    """Twelve tags of its own for each of fifty kinds of pictures, so each is rare."""
    rng = np.random.default_rng(0)
    chosen = np.zeros((400, MANY), dtype=bool)
    for row in range(len(chosen)):
        kind = row % 50
        chosen[row, rng.choice(np.arange(kind * 12, kind * 12 + 12), 8, replace=False)] = True
    return data_of(chosen, tuple(f"tag {number:03}" for number in range(MANY)))


@pytest.fixture(scope="module")
def compressed(many_tags: GraphData, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return trained(many_tags, tmp_path_factory.mktemp("many"))


def with_whole(trained_model: TrainedModel, whole: float, data: GraphData) -> QueryEngine:
    assert isinstance(trained_model.model, KernelSage)
    trained_model.model.config = replace(trained_model.model.config, naming_whole=whole)
    return QueryEngine(build_index(trained_model, data))


def test_validation_chooses_what_the_vote_of_whole_tags_weighs(compressed: TrainedModel) -> None:
    assert isinstance(compressed.model, KernelSage)
    assert not compressed.model.tells_tags_apart
    assert compressed.model.config.naming_whole in NAMING_WHOLES


def test_a_vocabulary_that_is_kept_apart_needs_no_second_vote(tmp_path: Path) -> None:
    model = trained(drawn_data(), tmp_path).model
    assert isinstance(model, KernelSage)
    assert model.tells_tags_apart and model.config.naming_whole == 0.0


def test_what_the_similar_images_carry_is_named_the_sooner_the_more_their_vote_weighs(
    compressed: TrainedModel, many_tags: GraphData
) -> None:
    pictures = np.asarray(many_tags.features[:40]) + 0.02
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    scores = {}
    for whole in (0.0, 1.0):
        engine = with_whole(compressed, whole, many_tags)
        scores[whole] = engine.tag_scores(pictures.astype(np.float32))
    difference = scores[1.0] - scores[0.0]
    assert (difference >= -1e-6).all() and (difference > 0.1).any(axis=1).all()
    assert_allclose(difference.sum(axis=1), 8.0, atol=1e-3)  # each similar image carries eight tags


def test_beside_a_told_tag_the_same_votes_say_what_else_the_picture_shows(
    compressed: TrainedModel, many_tags: GraphData
) -> None:
    compressed = replace(compressed, balance=replace(compressed.balance, guess=1.0))
    told = many_tags.tag_names[int(many_tags.tags_of_image.row(0)[0][0])]
    asked = Query(images=many_tags.features[:1], tags=(QueryTag(told),))
    with_votes, without = (
        with_whole(compressed, whole, many_tags).embed(asked).conceptual for whole in (1.0, 0.0)
    )
    assert not np.allclose(with_votes, without, atol=1e-3)
