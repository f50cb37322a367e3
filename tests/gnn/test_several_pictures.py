"""Several pictures in one question: like these, not like that, with tags and words beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gnn.query import Query, QueryEngine, QueryTag
from gnn.reindex import build_index
from graph_store.errors import EmptyQuery
from tests.gnn.worlds import drawn_data, trained

IN_ONE_WORLD = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=["default", "paper"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> QueryEngine:
    data = drawn_data()
    return QueryEngine(
        build_index(trained(data, tmp_path_factory.mktemp(request.param), request.param), data)
    )


def several(engine: QueryEngine, rows: list[int], weights: list[float], *tags: str, indexed: bool) -> Query:
    return Query(
        images=np.stack([engine.image_features(row) for row in rows]),
        image_weights=tuple(weights),
        image_rows=tuple(rows) if indexed else (),
        tags=tuple(map(QueryTag, tags)),
    )


@IN_ONE_WORLD
@given(weights=st.lists(st.sampled_from([-2.0, -0.5, 0.5, 1.0, 2.0]), min_size=3, max_size=3))
def test_indexed_pictures_ask_with_their_own_edges_weighed(engine: QueryEngine, weights: list[float]) -> None:
    rows = [2, 5, 11]
    if max(weights) < 0:
        weights[0] = 1.0
    alone = [engine.embed(Query(indexed_row=row)) for row in rows]
    together = engine.embed(several(engine, rows, weights, indexed=True))
    shares = np.array(weights) / np.abs(weights).sum()
    assert_allclose(together.visual, shares @ np.stack([one.visual for one in alone]), atol=1e-5)
    assert_allclose(together.conceptual, shares @ np.stack([one.conceptual for one in alone]), atol=1e-5)


def test_only_the_ratio_of_the_weights_counts_however_small_they_are(engine: QueryEngine) -> None:
    ones = engine.embed(several(engine, [2, 5], [1.0, 1.0], indexed=True))
    tiny = engine.embed(several(engine, [2, 5], [1e-50, 1e-50], indexed=True))
    assert_array_equal(tiny.visual, ones.visual)
    assert_array_equal(tiny.conceptual, ones.conceptual)


def test_a_tag_is_refused_as_much_whatever_pictures_are_unwanted_besides(engine: QueryEngine) -> None:
    tags = (QueryTag("red"), QueryTag("square", -1.0))
    alone = engine.embed(Query(tags=tags))
    picture = engine.embed(Query(images=engine.image_features(5)[None, :]))
    for weight in (-1.0, -7.0):
        beside = Query(images=engine.image_features(5)[None, :], image_weights=(weight,), tags=tags)
        share = 1.0 / (1.0 - weight)
        expected = share * alone.conceptual - (1.0 - share) * picture.conceptual
        assert_allclose(engine.embed(beside).conceptual, expected, atol=1e-5)


def test_what_is_asked_for_and_refused_cancels_beside_a_picture_that_is_unwanted(engine: QueryEngine) -> None:
    tags = (QueryTag("red"), QueryTag("red", -1.0))
    row = int(np.flatnonzero(engine.graph.tags_of_image.degrees())[0])
    unlike = several(engine, [row], [-1.0], indexed=True)
    with pytest.raises(EmptyQuery, match="cancel"):
        engine.embed(replace(unlike, tags=tags))


@pytest.mark.parametrize("indexed", [True, False])
@IN_ONE_WORLD
@given(order=st.permutations([(2, 1.0), (5, 0.5), (11, -0.5)]))
def test_the_order_of_pictures_does_not_matter(
    engine: QueryEngine, indexed: bool, order: list[tuple[int, float]]
) -> None:
    first = engine.embed(several(engine, [2, 5, 11], [1.0, 0.5, -0.5], "red", indexed=indexed))
    rows, weights = [row for row, _ in order], [weight for _, weight in order]
    again = engine.embed(several(engine, rows, weights, "red", indexed=indexed))
    assert_array_equal(first.visual, again.visual)
    assert_array_equal(first.conceptual, again.conceptual)


def test_a_tag_is_asked_of_the_pictures_to_be_like_and_not_of_the_other(engine: QueryEngine) -> None:
    like = engine.embed(several(engine, [2], [1.0], "red", indexed=False))
    unlike = engine.embed(several(engine, [5], [1.0], indexed=False))
    both = engine.embed(several(engine, [2, 5], [1.0, -0.5], "red", indexed=False))
    assert_allclose(both.conceptual, (like.conceptual - 0.5 * unlike.conceptual) / 1.5, atol=1e-5)
    assert_allclose(both.visual, (like.visual - 0.5 * unlike.visual) / 1.5, atol=1e-5)


def test_with_only_a_picture_to_be_unlike_the_tags_ask_for_themselves(engine: QueryEngine) -> None:
    tags = engine.embed(Query(tags=(QueryTag("red"),)))
    unlike = engine.embed(several(engine, [5], [1.0], indexed=False))
    both = engine.embed(several(engine, [5], [-0.5], "red", indexed=False))
    assert both.attach == "tags"
    assert_allclose(both.conceptual, (tags.conceptual - 0.5 * unlike.conceptual) / 1.5, atol=1e-5)


def test_only_a_picture_to_be_unlike_asks_for_nothing(engine: QueryEngine) -> None:
    with pytest.raises(EmptyQuery, match="positive weight"):
        engine.embed(several(engine, [5], [-1.0], indexed=True))


@pytest.mark.parametrize("indexed", [True, False])
def test_an_indexed_picture_asked_for_and_refused_leaves_nothing(engine: QueryEngine, indexed: bool) -> None:
    with pytest.raises(EmptyQuery, match="cancel"):
        engine.embed(several(engine, [2, 2], [1.0, -1.0], indexed=indexed))


def test_the_edges_of_a_picture_to_be_unlike_are_negative(engine: QueryEngine) -> None:
    edges = engine.embed(several(engine, [2, 5], [1.0, -1.0], indexed=True)).edges
    assert sum(weight for _, weight in edges.images if weight > 0) <= 0.5 + 1e-5
    assert min(weight for _, weight in edges.images) < 0
    for row, sign in ((2, 1), (5, -1)):
        neighbours = set(engine.graph.similar.row(row)[0].tolist())
        only = neighbours - set(engine.graph.similar.row(7 - row)[0].tolist())
        assert {np.sign(weight) for image, weight in edges.images if image in only} == {sign}


def test_excluded_pictures_leave_their_places_to_others(engine: QueryEngine) -> None:
    vectors = engine.embed(several(engine, [2, 5, 11], [1.0, 1.0, 1.0], indexed=True))
    whole = engine.search(vectors, 0.5, engine.num_images).rows
    hits = engine.search(vectors, 0.5, 10, exclude=[2, 5, 11]).rows
    assert hits.tolist() == [row for row in whole.tolist() if row not in (2, 5, 11)][:10]
