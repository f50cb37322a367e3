"""Words of a vision-language encoder lie among its pictures: a text alone looks like something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from gnn.encoders.base import EncoderSpec
from gnn.graph_data import GraphData
from gnn.graph_index import GraphIndex
from gnn.query import Query, QueryEngine
from gnn.reindex import build_index
from graph_store.arrays import Float32Array
from graph_store.errors import BadInput
from tests.gnn.worlds import SPEC, TAGS, drawn_data, trained

PICTURES = EncoderSpec("open_clip:drawn", "ab" * 32, SPEC.dim, "none")
TEXT = "crimson"


def directions() -> Float32Array:
    """[tags, 24] unit norm: what is common to the pictures of each tag."""
    drawn = np.random.default_rng(7).standard_normal((len(TAGS), SPEC.dim))  # as tests.gnn.worlds draws them
    unit: Float32Array = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return unit


@dataclass(frozen=True)
class Reader:
    """Reads the name of a tag as what it looks like, and any other text as *red*."""

    spec: EncoderSpec

    def encode_text(self, texts: Sequence[str]) -> Float32Array:
        return directions()[[TAGS.index(text) if text in TAGS else TAGS.index("red") for text in texts]]


@pytest.fixture(scope="module")
def data() -> GraphData:
    return replace(drawn_data(), encoder=PICTURES, text_encoder=PICTURES, tag_text=directions())


@pytest.fixture(scope="module")
def index(data: GraphData, tmp_path_factory: pytest.TempPathFactory) -> GraphIndex:
    folder: Path = tmp_path_factory.mktemp("one-space")
    return build_index(trained(data, folder), data)


@pytest.fixture(scope="module")
def engine(index: GraphIndex) -> QueryEngine:
    return QueryEngine(index, Reader(PICTURES))


def test_a_text_alone_looks_like_the_pictures_that_it_is_near_to(
    engine: QueryEngine, data: GraphData
) -> None:
    vectors = engine.embed(Query(text=TEXT))
    pictured = engine.embed(Query(images=directions()[[TAGS.index("red")]]))
    np.testing.assert_allclose(vectors.visual, pictured.visual, atol=1e-5)
    assert {row for row, _ in vectors.edges.images} == {row for row, _ in pictured.edges.images} != set()
    assert vectors.attach == "mixed"
    found = engine.search(vectors, 1.0, 10).rows
    cosines = data.features @ directions()[TAGS.index("red")]
    assert cosines[found].mean() > np.sort(cosines)[-40:].mean()


def test_the_words_of_another_encoder_look_like_nothing(index: GraphIndex) -> None:
    other = QueryEngine(index, Reader(replace(PICTURES, weights_sha256="cd" * 32)))
    vectors = other.embed(Query(text=TEXT))
    assert (vectors.attach, vectors.edges.images) == ("tags", ())
    with pytest.raises(BadInput, match="needs an image"):
        other.embed(Query(text=TEXT, attach="image"))


def test_a_text_may_be_asked_for_by_its_tags_or_by_its_looks_alone(engine: QueryEngine) -> None:
    by_tags, by_looks = (engine.embed(Query(text=TEXT, attach=attach)) for attach in ("tags", "image"))
    assert by_tags.edges.images == () and by_tags.edges.tags
    assert by_looks.edges.images and by_looks.edges.tags == ()


def test_beside_a_picture_to_be_like_a_text_is_what_it_names(engine: QueryEngine, data: GraphData) -> None:
    alone, told = (engine.embed(Query(images=data.features[2:3], text=text)) for text in (None, TEXT))
    np.testing.assert_allclose(told.visual, alone.visual, atol=1e-5)
    np.testing.assert_allclose(told.edges.images, alone.edges.images, atol=1e-5)
    assert told.edges.tags


def test_beside_a_picture_to_be_unlike_a_text_still_looks_like_something(
    engine: QueryEngine, data: GraphData
) -> None:
    unlike = engine.embed(Query(images=data.features[2:3], image_weights=(-1.0,), text=TEXT))
    picture, text = engine.embed(Query(images=data.features[2:3])), engine.embed(Query(text=TEXT))
    np.testing.assert_allclose(unlike.visual, (text.visual - picture.visual) / 2, atol=1e-5)
