"""What the query engine makes of pictures, weights, words and filters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gnn.calibration import Calibration
from gnn.model.edge_weights import with_weights
from gnn.query import Query, QueryEngine, QueryTag
from gnn.query_types import AttachedEdges, QueryVectors, Slider
from gnn.reindex import build_index
from graph_store.csr import Csr
from graph_store.errors import BadInput, EmptyQuery
from tests.gnn.test_told_pictures import Reader
from tests.gnn.worlds import TAGS, WORDS, drawn_data, trained

IN_ONE_WORLD = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def engine_for(preset: str, folder: Path) -> QueryEngine:
    data = drawn_data()
    return QueryEngine(build_index(trained(data, folder, preset), data))


@pytest.fixture(scope="module", params=["default", "paper", "graph-rise"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> QueryEngine:
    return engine_for(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> QueryEngine:
    """Preset `default` alone, where a test is about what makes sense and not about what adds up."""
    return engine_for("default", tmp_path_factory.mktemp("default-alone"))


def features(engine: QueryEngine, *rows: int) -> np.ndarray:
    return np.stack([engine.image_features(row) for row in rows])


def tagged(*names: str, weight: float = 1.0) -> tuple[QueryTag, ...]:
    return tuple(QueryTag(name, weight) for name in names)


def carriers(engine: QueryEngine, name: str) -> set[int]:
    return set(engine.graph.images_of_tag.row(engine.tag_names.index(name))[0].tolist())


# -- several pictures


@IN_ONE_WORLD
@given(weights=st.lists(st.floats(0.1, 3), min_size=3, max_size=3), kind=st.sampled_from(["image", "mixed"]))
def test_several_pictures_are_the_weighted_mean_of_each_alone(
    engine: QueryEngine, weights: list[float], kind: str
) -> None:
    rows, tags = (2, 5, 11), tagged("red") if kind == "mixed" else ()
    alone = [engine.embed(Query(images=features(engine, row), tags=tags)) for row in rows]
    together = engine.embed(Query(images=features(engine, *rows), image_weights=tuple(weights), tags=tags))
    shares = np.array(weights) / sum(weights)
    assert_allclose(together.visual, shares @ np.stack([one.visual for one in alone]), atol=1e-5)
    assert_allclose(together.conceptual, shares @ np.stack([one.conceptual for one in alone]), atol=1e-5)
    assert together.attach == kind


def test_pictures_without_weights_count_the_same(engine: QueryEngine) -> None:
    images = features(engine, 2, 5)
    bare, weighted = (engine.embed(Query(images=images, image_weights=w)) for w in ((), (4.0, 4.0)))
    assert_allclose(bare.visual, weighted.visual, atol=1e-6)
    assert_allclose(bare.conceptual, weighted.conceptual, atol=1e-6)


def test_a_picture_of_negative_weight_pushes_what_looks_like_it_away(engine: QueryEngine) -> None:
    images = features(engine, 2, 5)
    scores = []
    for weight in (0.5, 0.0, -0.5):
        vectors = engine.embed(Query(images=images, image_weights=(1.0, weight)))
        hits = engine.search(vectors, 1.0, engine.num_images)
        scores.append(float(hits.score[hits.rows == 5][0]) / float(np.abs(hits.score).max()))
    assert scores == sorted(scores, reverse=True)
    assert scores[2] < scores[0] - 0.1


def test_a_picture_asked_for_and_refused_leaves_nothing(engine: QueryEngine) -> None:
    with pytest.raises(EmptyQuery, match="cancel"):
        engine.embed(Query(images=features(engine, 2, 2), image_weights=(1.0, -1.0)))


@pytest.mark.parametrize("weight", [1e-40, 1e-9, 1e-3])
def test_a_tag_that_hardly_weighs_beside_a_refused_one_gives_finite_scores(
    engine: QueryEngine, weight: float
) -> None:
    tags = (QueryTag("red", weight), QueryTag("square", -1.0))
    vectors = engine.embed(Query(tags=tags))
    hits = engine.search(vectors, 0.0, engine.num_images)
    assert np.isfinite(hits.score).all()
    assert np.abs(hits.score).max() < 1000


def test_pictures_that_all_weigh_nothing_leave_nothing(engine: QueryEngine) -> None:
    with pytest.raises(EmptyQuery, match="weights"):
        engine.embed(Query(images=features(engine, 2, 5), image_weights=(0.0, 0.0)))


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 2.0, 3.0), (1.0, float("nan")), (float("inf"), 1.0)])
def test_weights_that_do_not_fit_the_pictures_are_refused(
    engine: QueryEngine, weights: tuple[float, ...]
) -> None:
    with pytest.raises(BadInput, match="2 images came with the weights"):
        engine.embed(Query(images=features(engine, 2, 5), image_weights=weights))


def test_one_picture_may_come_as_a_flat_vector(engine: QueryEngine) -> None:
    flat, row = (engine.embed(Query(images=each)) for each in (engine.image_features(2), features(engine, 2)))
    assert_array_equal(flat.visual, row.visual)


# -- tags and words


def test_the_heavier_a_refused_tag_the_lower_its_images_score(default: QueryEngine) -> None:
    red = carriers(default, "red")
    means = []
    for weight in (0.0, -0.25, -0.5, -1.0):
        tags = (QueryTag("circle"), QueryTag("red", weight))
        hits = default.search(default.embed(Query(tags=tags)), 0.0, default.num_images)
        reds = np.isin(hits.rows, list(red))
        means.append(float(hits.score[reds].mean() - hits.score[~reds].mean()))
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0] - 0.1


def test_a_refused_tag_keeps_its_images_out_of_a_picture_query(default: QueryEngine) -> None:
    image = features(default, min(carriers(default, "red")))
    red = carriers(default, "red")

    def reds(tags: tuple[QueryTag, ...]) -> int:
        return len(red & set(default.search(default.embed(Query(images=image, tags=tags)), 0.0, 20).rows))

    assert reds(tagged("red", weight=-1.0)) < reds(())


@pytest.mark.parametrize("told", [2, 3])
def test_an_indexed_picture_without_one_of_its_tags_is_like_those_without_it(
    default: QueryEngine, told: int
) -> None:
    red, asked = carriers(default, "red"), default.tag_names.index("red")
    tags = {row: default.graph.tags_of_image.row(row)[0].tolist() for row in sorted(red)}
    rows = [row for row, own in tags.items() if len(own) == told]
    for row in rows:
        vectors = default.embed(Query(indexed_row=row, tags=tagged("red", weight=-1.0)))
        hits = default.search(vectors, 0.0, default.num_images)
        score = dict(zip(hits.rows.tolist(), hits.score.tolist(), strict=True))
        rest = set(tags[row]) - {asked}
        same = [other for other in red - {row} if set(tags[other]) == set(tags[row])]
        without = [
            other
            for other in range(default.num_images)
            if set(default.graph.tags_of_image.row(other)[0].tolist()) == rest
        ]
        assert not (same and without) or max(score[o] for o in same) < max(score[o] for o in without)


def test_the_unit_of_an_images_stored_weights_does_not_matter(tmp_path: Path) -> None:
    data = drawn_data()
    vectors = []
    for unit in (1.0, 0.01):
        edges = data.tags_of_image
        scaled = replace(
            data, tags_of_image=Csr(edges.indptr, edges.indices, edges.weights * np.float32(unit))
        )
        engine = QueryEngine(build_index(trained(scaled, tmp_path / str(unit)), scaled))
        row = min(carriers(engine, "red"))
        vectors.append(engine.embed(Query(indexed_row=row, tags=tagged("blue", weight=-0.5))).conceptual)
    assert_allclose(vectors[0], vectors[1], atol=1e-4)


def test_what_is_refused_of_a_bare_picture_weighs_less_than_what_is_refused_of_tags(
    default: QueryEngine,
) -> None:
    image = features(default, min(carriers(default, "red")))

    def taken(*told: str) -> float:
        without, with_it = (
            default.embed(Query(images=image, tags=(*tagged(*told), *refused)))
            for refused in ((), tagged("blue", weight=-1.0))
        )
        return float(np.linalg.norm(with_it.conceptual - without.conceptual))

    assert 0 < taken() < taken("circle")


def test_a_tag_of_weight_nought_asks_for_nothing(engine: QueryEngine) -> None:
    image = features(engine, 2)
    without, with_it = (engine.embed(Query(images=image, tags=t)) for t in ((), tagged("red", weight=0.0)))
    assert_array_equal(without.conceptual, with_it.conceptual)
    with pytest.raises(EmptyQuery):
        engine.embed(Query(tags=tagged("red", weight=0.0)))


def test_a_tag_finds_images_that_carry_it(default: QueryEngine) -> None:
    for name in TAGS:
        found = default.search(default.embed(Query(tags=tagged(name))), 0.0, 10).rows
        assert len(carriers(default, name) & set(found.tolist())) >= 8, name


def test_the_same_tag_asked_twice_is_asked_for_once_with_both_weights(engine: QueryEngine) -> None:
    twice = engine.embed(Query(tags=(QueryTag("red"), QueryTag("RED"), QueryTag("circle"))))
    once = engine.embed(Query(tags=(QueryTag("red", 2.0), QueryTag("circle"))))
    assert_allclose(twice.conceptual, once.conceptual, atol=1e-6)


def test_text_that_names_tags_asks_for_those_tags(engine: QueryEngine) -> None:
    by_text = engine.embed(Query(text="a large Red thing"))
    by_tags = engine.embed(Query(tags=tagged("large", "red")))
    assert_array_equal(by_text.conceptual, by_tags.conceptual)
    assert by_text.attach == "tags"
    assert {asked for _, _, asked in by_text.edges.tags} == {"a large Red thing"}


def test_a_tag_of_four_words_is_the_same_question_as_a_tag_and_as_a_text(tmp_path: Path) -> None:
    data = replace(drawn_data(), tag_names=("a bat for baseball", *TAGS[1:]))
    engine = QueryEngine(
        build_index(trained(data, tmp_path), data), Reader(replace(WORDS, weights_sha256="words"))
    )
    named = engine.embed(Query(tags=tagged("a bat for baseball", "no tag")))
    said = engine.embed(Query(tags=tagged("no tag"), text="a bat for baseball"))
    assert_allclose(said.conceptual, named.conceptual, atol=1e-6)


@pytest.mark.parametrize("text", ["", "   ", None])
def test_empty_text_asks_for_nothing(engine: QueryEngine, text: str | None) -> None:
    with pytest.raises(EmptyQuery, match="asks for nothing"):
        engine.embed(Query(text=text))


def test_the_edges_of_a_query_say_what_was_asked_and_refused(engine: QueryEngine) -> None:
    vectors = engine.embed(
        Query(images=features(engine, 2), tags=(QueryTag("Red", 2.0), QueryTag("blue", -0.5)))
    )
    red, blue = engine.tag_names.index("red"), engine.tag_names.index("blue")
    assert vectors.edges.tags == ((red, 2.0, "Red"), (blue, -0.5, "blue"))
    assert sum(weight for _, weight in vectors.edges.images) == pytest.approx(1.0, abs=1e-5)


def test_a_query_by_tags_only_has_no_similar_images(engine: QueryEngine) -> None:
    vectors = engine.embed(Query(images=features(engine, 2), tags=tagged("red"), attach="tags"))
    assert (vectors.attach, vectors.edges.images) == ("tags", ())


def test_an_indexed_image_attached_by_image_only_leaves_its_tags_out(engine: QueryEngine) -> None:
    row = min(carriers(engine, "red"))
    bare = engine.embed(Query(indexed_row=row, attach="image"))
    assert bare.edges.tags == ()
    assert engine.embed(Query(indexed_row=row)).edges.tags != ()


# -- the search


def test_an_image_is_its_own_nearest_by_looks(default: QueryEngine) -> None:
    for row in (0, 7, 80):
        hits = default.search(default.embed(Query(images=features(default, row))), 1.0, 3)
        assert hits.rows[0] == row


@IN_ONE_WORLD
@given(
    allowed=st.sets(st.integers(0, 159), max_size=40),
    k=st.integers(1, 200),
    excluded=st.one_of(st.none(), st.integers(0, 159)),
    visual_weight=st.floats(0, 1),
)
def test_a_filtered_search_ranks_the_allowed_images_as_the_whole_search_does(
    engine: QueryEngine, allowed: set[int], k: int, excluded: int | None, visual_weight: float
) -> None:
    vectors = engine.embed(Query(images=features(engine, 3), tags=tagged("red")))
    rows = np.array(sorted(allowed), dtype=np.int64)
    hits = engine.search(vectors, visual_weight, k, rows, [] if excluded is None else [excluded])
    whole = engine.search(vectors, visual_weight, engine.num_images)
    score = dict(zip(whole.rows.tolist(), whole.score.tolist(), strict=True))
    wanted = sorted((score[row] for row in allowed - {excluded}), reverse=True)[:k]
    assert set(hits.rows.tolist()) <= allowed - {excluded}
    assert_allclose(hits.score, wanted, atol=1e-5)


def test_asking_for_more_than_there_is_gives_all_there_is(engine: QueryEngine) -> None:
    hits = engine.search(engine.embed(Query(indexed_row=0)), 0.5, 10_000, exclude=[0])
    assert sorted(hits.rows.tolist()) == list(range(1, engine.num_images))


def test_no_queries_have_no_vectors(engine: QueryEngine) -> None:
    assert engine.embed_many([]) == []


@given(balance=st.floats(0.01, 10))
def test_the_slider_gives_looks_more_and_more_from_nothing_to_everything(balance: float) -> None:
    vector = np.ones(2, np.float32)
    none = AttachedEdges((), ())
    vectors = QueryVectors(vector, vector, "image", lambda: none, Slider(balance))
    shares = [vectors.slider.weights(stop) for stop in np.linspace(0, 1, 21)]
    looks = [visual for visual, _ in shares]
    assert looks == sorted(looks)
    assert (shares[0], shares[-1]) == ((0.0, 1.0), (1.0, 0.0))
    assert all(visual + conceptual == pytest.approx(1.0) for visual, conceptual in shares)


def test_moving_the_slider_up_trades_meaning_for_looks(engine: QueryEngine) -> None:
    red, everything = list(carriers(engine, "red")), features(engine, *range(engine.num_images))
    rows = sorted(set(range(engine.num_images)) - set(red))[:40]
    looks, meaning = np.zeros(2), np.zeros(2)
    for row in rows:
        vectors = engine.embed(Query(images=features(engine, row), tags=tagged("red")))
        for end in (0, 1):
            found = engine.search(vectors, float(end), 10).rows
            looks[end] += float((everything[found] @ everything[row]).mean()) / len(rows)
            meaning[end] += float(np.isin(found, red).mean()) / len(rows)
    assert looks[1] > looks[0] + 0.05
    # Preset `paper` has hardly begun to learn what tags mean.
    assert meaning[1] < meaning[0] - 0.1 or engine._trained.preset.name == "paper"


def test_the_tags_that_spoke_are_those_of_the_question(default: QueryEngine) -> None:
    vectors = default.embed(Query(tags=tagged("red", "square")))
    affinity = default.tag_affinity(vectors, np.arange(len(TAGS)))
    best = {TAGS[tag] for tag in np.argsort(-affinity)[:2]}
    assert best == {"red", "square"}


def test_predicted_tags_are_mostly_those_a_new_picture_shows(default: QueryEngine) -> None:
    new = drawn_data(60, seed=3)
    right = total = 0
    for row, predicted in enumerate(default.predict_tags(new.features, len(TAGS))):
        true = {TAGS[tag] for tag in new.tags_of_image.row(row)[0]}
        right += len(true & {name for name, _ in predicted[: len(true)]})
        total += len(true)
    assert right / total > 0.7  # a third by chance


def test_tags_keep_their_order_where_calibration_cannot_tell_them_apart(tmp_path: Path) -> None:
    data, picture = drawn_data(), drawn_data(1, seed=3).features
    model = trained(data, tmp_path, "default")
    told, flat = (
        QueryEngine(build_index(each, data)).predict_tags(picture, 5)[0]
        for each in (model, replace(model, calibration=Calibration(0.0, 0.0, 0.0)))
    )
    assert [name for name, _ in flat] == [name for name, _ in told]
    assert {chance for _, chance in flat} == {0.5}


def test_the_unit_of_stored_weights_does_not_matter_beside_a_tag_that_is_asked_for(tmp_path: Path) -> None:
    data = drawn_data()
    model = trained(data, tmp_path, "default")
    row = int(np.flatnonzero(data.tags_of_image.degrees() == 2)[0])
    asked = Query(images=data.features[row][None, :], image_rows=(row,), tags=tagged("red"))
    one, other = (
        QueryEngine(
            build_index(model, replace(data, tags_of_image=with_weights(edges, edges.weights * unit)))
        ).embed(asked)
        for edges, unit in ((data.tags_of_image, 1.0), (data.tags_of_image, 50.0))
    )
    assert_allclose(one.conceptual, other.conceptual, atol=1e-5)


def test_a_stored_tag_weighs_the_less_the_more_it_is_refused_beside_one_that_is_asked_for(
    default: QueryEngine,
) -> None:
    tags = default.graph.tags_of_image
    row = int(np.flatnonzero(tags.degrees() == 1)[0])
    own = default.tag_names[default.tags_of(row)[0]]
    asked = next(name for name in default.tag_names if name != own)
    weights = []
    for refusal in (0.25, 0.5, 0.75):
        query = Query(
            images=features(default, row),
            image_rows=(row,),
            tags=(QueryTag(asked), QueryTag(own, -refusal)),
        )
        edges = default.embed(query).list_edges().tags
        weights.append(
            sum(weight for tag, weight, _ in edges if default.tag_names[tag] == own and weight > 0)
        )
    assert_allclose(weights, [0.75, 0.5, 0.25], atol=1e-6)


def test_rows_and_ids_lead_to_one_another(default: QueryEngine) -> None:
    assert [default.row_of(image) for image in default.image_ids] == list(range(default.num_images))
    assert default.row_of("no such image") is None


# -- where a search may begin


def test_a_picture_alone_says_which_image_its_best_are_near(engine: QueryEngine) -> None:
    assert engine.embed(Query(indexed_row=7)).near == 7
    new = features(engine, 7) + np.float32(0.01)
    rows, _ = engine._index.neighbours.search(engine._trained.space(new), 1, -1.0)
    assert engine.embed(Query(images=new)).near == rows[0, 0]
    # The same where several are asked together, which is another way through the code.
    assert engine.embed_many([Query(images=new), Query(images=new)])[1].near == rows[0, 0]


@pytest.mark.parametrize(
    "more", [{"tags": tagged("red")}, {"tags": tagged("red", weight=-1.0)}, {"image_weights": (1.0, 1.0)}]
)
def test_a_question_that_asks_for_more_than_a_picture_does_not(
    engine: QueryEngine, more: dict[str, Any]
) -> None:
    pictures = features(engine, 7, 9) if "image_weights" in more else features(engine, 7)
    assert engine.embed(Query(images=pictures, **more)).near is None


def test_a_question_of_tags_alone_does_not(engine: QueryEngine) -> None:
    assert engine.embed(Query(tags=tagged("red"))).near is None
