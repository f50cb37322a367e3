"""Attaching a query must be the same as adding it to the graph and running the whole model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnn.encoders.base import EncoderSpec
from gnn.graph_data import GraphData
from gnn.graph_index import GraphIndex, messages_of
from gnn.model.aggregate import full_states
from gnn.query import Query, QueryEngine, QueryTag
from gnn.reindex import build_index
from gnn.trained_model import tag_numbers
from graph_store.csr import Csr
from graph_store.errors import BadInput, EmptyQuery
from graph_store.graph import Graph
from graph_store.image_table import ImageTable
from graph_store.records import ImageRecord, Tag
from tests.gnn.worlds import tag_edges, trained

TAGS = ("blue", "circle", "green", "large", "red", "square")
SPEC = EncoderSpec("precomputed", "", 24, "none")


def drawn_data(num: int = 160, seed: int = 0) -> GraphData:
    """Images whose features are noisy sums of one direction a tag; some have no tags."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((len(TAGS), SPEC.dim))
    records, features = [], []
    for row in range(num):
        chosen = np.flatnonzero(rng.random(len(TAGS)) < 0.35)
        vector = directions[chosen].sum(axis=0) + 0.6 * rng.standard_normal(SPEC.dim)
        features.append(vector / np.linalg.norm(vector))
        tags = tuple(Tag(TAGS[tag]) for tag in chosen) if row % 9 else ()
        records.append(ImageRecord(id=f"image-{row}", tags=tags, row=row))
    text = rng.standard_normal((len(TAGS), 12)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    return GraphData(
        ImageTable.of(records),
        np.asarray(features, dtype=np.float32),
        TAGS,
        tag_edges(records, TAGS),
        text,
        SPEC,
        EncoderSpec("words", "", 12, "none"),
    )


@pytest.fixture(scope="module")
def data() -> GraphData:
    return drawn_data()


def trained_index(name: str, data: GraphData, folder: Path) -> GraphIndex:
    return build_index(trained(data, folder, name), data)


@pytest.fixture(scope="module", params=["default", "paper", "graph-rise"])
def index(
    request: pytest.FixtureRequest, data: GraphData, tmp_path_factory: pytest.TempPathFactory
) -> GraphIndex:
    return trained_index(request.param, data, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def default_index(data: GraphData, tmp_path_factory: pytest.TempPathFactory) -> GraphIndex:
    return trained_index("default", data, tmp_path_factory.mktemp("alone"))


def with_node(csr: Csr, row: Csr) -> Csr:
    """The relation with one more receiving row at the end."""
    return Csr(
        np.concatenate([csr.indptr, csr.indptr[-1:] + row.indptr[1:]]),
        np.concatenate([csr.indices, row.indices]),
        np.concatenate([csr.weights, row.weights]),
    )


def embedded_by_full_pass(index: GraphIndex, features: np.ndarray, similar: Csr, tags: Csr) -> np.ndarray:
    """The last node's embedding when it is a node of the graph like any other."""
    graph = index.graph
    grown = Graph(
        graph.num_images + 1,
        graph.num_tags,
        with_node(graph.similar, similar),
        with_node(graph.tags_of_image, tags),
        graph.images_of_tag,
        graph.related,
    )
    model = index.trained.model
    with torch.no_grad():
        states = full_states(
            model,
            messages_of(index.trained, grown),
            torch.from_numpy(np.concatenate([index.features, features])),
            torch.from_numpy(index.tag_text),
        )
        embedded = model.embed_images(states.images)
    assert (tag_numbers(index.trained, index.tag_names) == np.arange(graph.num_tags)).all()
    return embedded[-1].numpy()


def one_row(indices: list[int], weights: list[float]) -> Csr:
    return Csr.from_edges(np.zeros(len(indices)), indices, weights, 1)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    mode=st.sampled_from(["image", "tags", "mixed"]),
    tags=st.lists(st.integers(0, len(TAGS) - 1), min_size=1, max_size=4, unique=True),
)
def test_an_attached_query_equals_a_node_of_the_graph(
    index: GraphIndex, seed: int, mode: str, tags: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((1, SPEC.dim)).astype(np.float32)
    features /= np.linalg.norm(features)
    how = index.trained.preset.graph
    rows, cosines = index.neighbours.search(index.trained.space(features), how.neighbours, -1.0)
    near = one_row(rows[0].tolist(), cosines[0].tolist()) if mode != "tags" else Csr.empty(1)
    told = one_row(tags, [1.0] * len(tags)) if mode != "image" else Csr.empty(1)

    attached = QueryEngine(index).attachments.embeddings(features, near, told)[0]

    np.testing.assert_allclose(attached, embedded_by_full_pass(index, features, near, told), atol=1e-5)


@pytest.fixture(scope="module", params=["paper", "graph-rise"])
def crowded(
    request: pytest.FixtureRequest, data: GraphData, tmp_path_factory: pytest.TempPathFactory
) -> GraphIndex:
    """Images have more neighbours than they hear."""
    model = trained(
        data, tmp_path_factory.mktemp(request.param), request.param, neighbours="120", threshold="-1"
    )
    most = model.preset.weights.max_degree
    index = build_index(model, data)
    assert most is not None and index.graph.similar.degrees().min() == 120 > most
    return index


def new_picture(index: GraphIndex) -> tuple[np.ndarray, Csr]:
    """Features [1, dim], and the edges to its 120 neighbours."""
    features = np.random.default_rng(3).standard_normal((1, SPEC.dim)).astype(np.float32)
    features /= np.linalg.norm(features)
    rows, cosines = index.neighbours.search(index.trained.space(features), 120, -1.0)
    return features, one_row(rows[0].tolist(), cosines[0].tolist())


def test_a_query_with_more_neighbours_than_are_heard_equals_a_node_of_the_graph(crowded: GraphIndex) -> None:
    features, near = new_picture(crowded)
    expected = embedded_by_full_pass(crowded, features, near, Csr.empty(1))
    attached = QueryEngine(crowded).attachments.embeddings(features, near, Csr.empty(1))[0]
    np.testing.assert_allclose(attached, expected, atol=1e-5)


@pytest.mark.parametrize("asked", [1, 2])
def test_one_picture_or_several_ask_with_the_neighbours_that_a_node_hears(
    crowded: GraphIndex, asked: int
) -> None:
    features, near = new_picture(crowded)
    engine = QueryEngine(crowded)
    node = embedded_by_full_pass(crowded, features, near, Csr.empty(1))[np.newaxis]
    meant = engine._readout.conceptual(node, lambda: np.zeros_like(node), np.array([False]))
    for vectors in engine.embed_many([Query(images=features)] * asked):
        np.testing.assert_allclose(vectors.visual, engine._readout.visual(node)[0], atol=1e-5)
        np.testing.assert_allclose(vectors.conceptual, meant[0], atol=1e-5)


def test_a_new_picture_is_named_by_the_neighbours_that_a_node_hears(crowded: GraphIndex) -> None:
    features, near = new_picture(crowded)
    engine = QueryEngine(crowded)
    node = embedded_by_full_pass(crowded, features, near, Csr.empty(1)) * engine._readout.meaning
    np.testing.assert_allclose(
        engine.tag_scores(features)[0], crowded.states.tag_embeddings @ node, atol=1e-5
    )


def test_an_indexed_image_is_named_by_the_neighbours_that_it_hears(crowded: GraphIndex) -> None:
    engine = QueryEngine(crowded)
    near = one_row(*(each.tolist() for each in crowded.graph.similar.row(9)))
    untold = embedded_by_full_pass(crowded, crowded.features[9:10], near, Csr.empty(1))
    np.testing.assert_allclose(
        engine.tag_scores_of(np.array([9]))[0],
        crowded.states.tag_embeddings @ (untold * engine._readout.meaning),
        atol=1e-5,
    )


def test_an_indexed_image_with_more_neighbours_than_it_hears_asks_with_its_own_embedding(
    crowded: GraphIndex,
) -> None:
    engine = QueryEngine(crowded)
    quick = engine.embed(Query(indexed_row=9))
    attached = engine.embed_many([Query(indexed_row=9)])[0]
    np.testing.assert_allclose(quick.visual, attached.visual, atol=1e-5)
    np.testing.assert_allclose(quick.conceptual, attached.conceptual, atol=1e-5)
    assert quick.edges == attached.edges


def test_every_indexed_image_has_the_embedding_of_the_full_pass(index: GraphIndex) -> None:
    model = index.trained.model
    with torch.no_grad():
        states = full_states(
            model,
            messages_of(index.trained, index.graph),
            torch.from_numpy(index.features),
            torch.from_numpy(index.tag_text),
        )
        expected = model.embed_images(states.images).numpy()
    np.testing.assert_allclose(index.states.embeddings, expected, atol=1e-5)


def test_asking_leaves_graph_states_and_index_untouched(index: GraphIndex) -> None:
    before = [array.copy() for array in arrays_of(index)]
    engine = QueryEngine(index)
    query = Query(images=index.features[:3] * -1, tags=(QueryTag("red"), QueryTag("blue", -1)))
    engine.search(engine.embed(query), 0.5, 10)
    engine.predict_tags(index.features[:3], 3)
    assert all(np.array_equal(now, then) for now, then in zip(arrays_of(index), before, strict=True))


def arrays_of(index: GraphIndex) -> list[np.ndarray]:
    graph = index.graph
    relations = (graph.similar, graph.tags_of_image, graph.images_of_tag, graph.related)
    return [
        *(array for csr in relations for array in (csr.indptr, csr.indices, csr.weights)),
        *index.states.image_states,
        *index.states.tag_states,
        index.states.embeddings,
        index.states.tag_embeddings,
    ]


def test_an_indexed_image_asks_with_its_own_embedding(index: GraphIndex) -> None:
    engine = QueryEngine(index)
    for row in (0, 1, 9):
        quick = engine.embed(Query(indexed_row=row))
        attached = engine.embed_many([Query(indexed_row=row)])[0]
        np.testing.assert_allclose(quick.visual, attached.visual, atol=1e-5)
        np.testing.assert_allclose(quick.conceptual, attached.conceptual, atol=1e-5)
        assert (quick.attach, quick.edges) == (attached.attach, attached.edges)


def test_a_batch_gives_what_each_query_gives_alone(index: GraphIndex) -> None:
    engine = QueryEngine(index)
    queries = [
        Query(images=index.features[5:6]),
        Query(tags=(QueryTag("red"), QueryTag("circle"))),
        Query(images=index.features[7:9], image_weights=(1.0, -0.5), tags=(QueryTag("blue"),)),
        Query(indexed_row=3),
    ]
    for together, query in zip(engine.embed_many(queries), queries, strict=True):
        alone = engine.embed(query)
        np.testing.assert_allclose(together.visual, alone.visual, atol=1e-5)
        np.testing.assert_allclose(together.conceptual, alone.conceptual, atol=1e-5)


@given(order=st.permutations(["red", "circle", "large"]))
def test_the_order_of_tags_does_not_matter(index: GraphIndex, order: list[str]) -> None:
    engine = QueryEngine(index)
    image = index.features[4:5]
    first = engine.embed(Query(images=image, tags=tuple(map(QueryTag, ("circle", "large", "red")))))
    again = engine.embed(Query(images=image, tags=tuple(map(QueryTag, order))))
    assert np.array_equal(first.conceptual, again.conceptual)
    assert np.array_equal(first.visual, again.visual)


@given(visual_weight=st.floats(0, 1))
def test_the_score_is_that_of_the_two_vectors_by_their_places_on_the_slider(
    index: GraphIndex, visual_weight: float
) -> None:
    engine = QueryEngine(index)
    vectors = engine.embed(Query(images=index.features[:1], tags=(QueryTag("red"),)))
    hits = engine.search(vectors, visual_weight, 10)
    balance = 1.0 if index.trained.preset.name == "paper" else index.trained.balance.visual
    looks = balance * visual_weight / (balance * visual_weight + 1.0 - visual_weight)
    visual, conceptual = (index.states.embeddings @ each for each in (vectors.visual, vectors.conceptual))
    scores = looks * visual + (1.0 - looks) * conceptual
    np.testing.assert_allclose(hits.visual, looks * visual[hits.rows], atol=1e-5)
    np.testing.assert_allclose(hits.conceptual, (1.0 - looks) * conceptual[hits.rows], atol=1e-5)
    np.testing.assert_allclose(hits.score, np.sort(scores)[:-11:-1], atol=1e-5)
    assert (np.diff(hits.score) <= 0).all()


def test_at_the_visual_end_a_picture_is_asked_for_whatever_tags_come_with_it(index: GraphIndex) -> None:
    engine = QueryEngine(index)
    picture = Query(images=index.features[:1])
    alone = engine.search(engine.embed(picture), 1.0, 10)
    told = engine.search(engine.embed(replace(picture, tags=(QueryTag("red"),))), 1.0, 10)
    if index.trained.preset.name == "paper":
        # There a node's one embedding holds the tags that it is attached with.
        assert np.abs(alone.score - told.score).max() > 1e-3
        return
    assert np.array_equal(alone.rows, told.rows)
    np.testing.assert_allclose(alone.score, told.score, atol=1e-5)


def test_each_vector_keeps_to_its_own_block_but_for_what_looks_tell_of_meaning(
    index: GraphIndex,
) -> None:
    engine = QueryEngine(index)
    vectors = engine.embed(Query(images=index.features[:1], tags=(QueryTag("red"),)))
    looks = engine._readout.meaning == 0
    assert looks.any() == (index.trained.preset.name != "paper")
    assert np.array_equal(vectors.visual[~looks], np.zeros((~looks).sum())) or not looks.any()
    share = index.trained.balance.look if index.trained.preset.model == "kernel" else 0.0
    np.testing.assert_allclose(vectors.conceptual[looks], share * vectors.visual[looks], atol=1e-6)


@pytest.mark.parametrize("visual_weight", [-0.01, 1.01, float("nan")])
def test_a_place_off_the_slider_is_refused(index: GraphIndex, visual_weight: float) -> None:
    engine = QueryEngine(index)
    vectors = engine.embed(Query(indexed_row=0))
    with pytest.raises(BadInput, match="visual_weight"):
        engine.search(vectors, visual_weight, 5)


def test_a_query_whose_parts_cancel_is_refused(index: GraphIndex) -> None:
    engine = QueryEngine(index)
    with pytest.raises(EmptyQuery):
        engine.embed(Query(tags=(QueryTag("red"), QueryTag("red", -1))))


def test_a_query_for_nothing_is_refused(index: GraphIndex) -> None:
    with pytest.raises(EmptyQuery):
        QueryEngine(index).embed(Query(tags=(QueryTag("red", -1),)))


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        (Query(images=np.ones((1, 7), np.float32)), "7 numbers"),
        (Query(images=np.full((1, SPEC.dim), np.nan, np.float32)), "NaN"),
        (Query(tags=(QueryTag("red"),), attach="image"), "needs an image"),
        (Query(images=np.ones((1, SPEC.dim), np.float32), attach="tags"), "needs a tag"),
        (Query(tags=(QueryTag("purple"),)), "no text encoder"),
        (Query(tags=(QueryTag("red", float("inf")),)), "finite"),
    ],
)
def test_a_query_that_cannot_be_attached_says_why(index: GraphIndex, query: Query, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        QueryEngine(index).embed(query)


def test_a_negative_tag_pushes_its_images_out(default_index: GraphIndex) -> None:
    index = default_index
    engine = QueryEngine(index)
    red = index.tag_names.index("red")
    image = Query(tags=(QueryTag("circle"),))
    refusing = Query(tags=(QueryTag("circle"), QueryTag("red", -1)))

    def reds(query: Query) -> int:
        rows = engine.search(engine.embed(query), 0.0, 20).rows
        return sum(red in index.graph.tags_of_image.row(int(row))[0] for row in rows)

    assert reds(refusing) < reds(image)


def test_predicted_tags_are_probabilities_best_first(index: GraphIndex) -> None:
    for tags in QueryEngine(index).predict_tags(index.features[:5], 4):
        scores = [score for _, score in tags]
        assert len(tags) == 4
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
