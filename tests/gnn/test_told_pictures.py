"""A tag beside a picture: the tag is found, and so is what else the picture shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from gnn.common_tags import telling
from gnn.encoders.base import EncoderSpec
from gnn.forgotten_tags import completed_share, completeness
from gnn.graph_data import GraphData
from gnn.model import kernel_sage
from gnn.model.kernel_sage import KernelSage
from gnn.query import Attach, Query, QueryEngine, QueryTag
from gnn.reindex import build_index
from gnn.told_pictures import without
from gnn.trained_model import SliderBalance, TrainedModel
from graph_store.csr import Csr
from tests.gnn.worlds import TAGS, data_of, drawn_data, drawn_features, drawn_tags, trained

MIDDLE = 0.5


@dataclass(frozen=True)
class Reader:
    """A text encoder to which every text is as far from all names as any other."""

    spec: EncoderSpec

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.full((len(texts), self.spec.dim), self.spec.dim**-0.5, dtype=np.float32)


@pytest.fixture(scope="module")
def data() -> GraphData:
    return drawn_data(400)


@pytest.fixture(scope="module")
def model(data: GraphData, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return trained(data, tmp_path_factory.mktemp("told"))


@pytest.fixture(scope="module")
def engine(model: TrainedModel, data: GraphData) -> QueryEngine:
    return QueryEngine(build_index(model, data))


def carries(data: GraphData) -> np.ndarray:
    table = np.zeros((len(data.ids), len(data.tag_names)), dtype=bool)
    table[data.tags_of_image.edge_rows(), data.tags_of_image.indices] = True
    return table


def likeness(engine: QueryEngine, data: GraphData, query: Query, shown: np.ndarray) -> float:
    """Mean Jaccard of what a picture shows with the tags of the first ten results."""
    rows = engine.search(engine.embed(query), MIDDLE, 10).rows
    found = carries(data)[rows]
    return float(((found & shown).sum(axis=1) / (found | shown).sum(axis=1)).mean())


def new_pictures(number: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """What new pictures show, three things at least, and their features, harder to read than the index's."""
    shown = drawn_tags(20 * number, seed=91)
    shown = shown[shown.sum(axis=1) >= 3][:number]
    return shown, drawn_features(shown, seed=92, noise=2)


def test_the_tag_that_a_picture_hides_best_helps_to_find_its_like(
    engine: QueryEngine, data: GraphData
) -> None:
    shown, features = new_pictures()
    alone, told, tag_alone = [], [], []
    for picture, truth, chances in zip(features, shown, engine.tag_scores(features), strict=True):
        hidden = int(np.where(truth, chances, np.inf).argmin())
        tags = (QueryTag(TAGS[hidden]),)
        alone.append(likeness(engine, data, Query(images=picture[None]), truth))
        told.append(likeness(engine, data, Query(images=picture[None], tags=tags), truth))
        tag_alone.append(likeness(engine, data, Query(tags=tags), truth))
    assert np.mean(told) > np.mean(alone) + 0.02
    assert np.mean(told) > np.mean(tag_alone) + 0.2


def test_most_results_carry_what_is_told_though_the_picture_does_not_show_it(
    engine: QueryEngine, data: GraphData
) -> None:
    shown, features = new_pictures()
    table, share = carries(data), []
    for picture, truth in zip(features, shown, strict=True):
        for tag in np.flatnonzero(~truth)[:1]:
            query = Query(images=picture[None], tags=(QueryTag(TAGS[tag]),))
            share.append(table[engine.search(engine.embed(query), MIDDLE, 10).rows, tag].mean())
    assert np.mean(share) > 0.75


def test_a_tag_beside_two_kinds_of_pictures_finds_two_kinds_of_things(
    engine: QueryEngine, data: GraphData
) -> None:
    red, circle, square = (TAGS.index(name) for name in ("red", "circle", "square"))
    shown = np.zeros((20, len(TAGS)), dtype=bool)
    shown[:10, circle] = shown[10:, square] = True
    table, found = carries(data), []
    for picture in drawn_features(shown, seed=5):
        query = Query(images=picture[None], tags=(QueryTag("red"),))
        found.append(table[engine.search(engine.embed(query), MIDDLE, 10).rows].mean(axis=0))
    circles, squares = np.mean(found[:10], axis=0), np.mean(found[10:], axis=0)
    assert circles[red] > 0.75 and squares[red] > 0.75
    assert circles[circle] > squares[circle] + 0.5
    assert squares[square] > circles[square] + 0.5


def test_nothing_is_guessed_beside_what_an_indexed_image_is_tagged_with(engine: QueryEngine) -> None:
    tagged = int(np.flatnonzero(engine.graph.tags_of_image.degrees() == 2)[0])
    asked = engine.embed_many([Query(indexed_row=tagged)])[0]
    own = engine.image_vectors(np.array([tagged]))
    untouched = engine._readout.conceptual(own, lambda: own, np.array([True]))[0]
    assert_allclose(asked.conceptual, untouched, atol=1e-5)


def test_a_model_that_guesses_nothing_compares_with_the_told_tags_alone(
    model: TrainedModel, data: GraphData
) -> None:
    bold = replace(model, balance=replace(model.balance, guess=0.8))
    shy = replace(model, balance=replace(model.balance, guess=0.0))
    picture = new_pictures(1)[1]
    query = Query(images=picture, tags=(QueryTag("red"),))
    guessing, bare = (QueryEngine(build_index(each, data)).embed(query) for each in (bold, shy))
    told = Query(images=picture, tags=(QueryTag("red"),), attach="tags")
    by_tag = QueryEngine(build_index(shy, data)).embed(told)
    assert bare.conceptual @ by_tag.conceptual > 0.9 * np.linalg.norm(bare.conceptual) * np.linalg.norm(
        by_tag.conceptual
    )
    assert not np.allclose(guessing.conceptual, bare.conceptual, atol=0.05)
    assert_allclose(guessing.visual, bare.visual, atol=1e-6)


def test_nothing_is_guessed_in_a_catalogue_of_single_tags(tmp_path_factory: pytest.TempPathFactory) -> None:
    single = np.eye(len(TAGS), dtype=bool)[np.random.default_rng(3).integers(0, len(TAGS), 160)]
    data = data_of(single)
    assert trained(data, tmp_path_factory.mktemp("single")).balance.guess == 0.0


@pytest.mark.parametrize("kept", [1.0, 0.8, 0.5, 0.3])
def test_how_many_tags_were_forgotten_is_read_off_the_surest_namings(kept: float) -> None:
    rng = np.random.default_rng(2)
    chances = rng.beta(0.3, 0.9, (4000, 12)).astype(np.float32)
    whole = rng.random(chances.shape) < chances
    seen = whole & (rng.random(whole.shape) < kept)
    of_tagged = seen.any(axis=1)
    found = completeness(kept * chances[of_tagged], seen[of_tagged].astype(np.float32))
    assert found == pytest.approx(kept, abs=0.06)


def test_a_tag_that_all_pictures_carry_does_not_hide_what_was_forgotten() -> None:
    rng = np.random.default_rng(2)
    chances = rng.beta(0.3, 0.9, (1000, 12)).astype(np.float32)
    seen = (rng.random(chances.shape) < 0.5 * chances).astype(np.float32)
    filed = np.ones((1000, 1), np.float32)
    apart = telling(sparse.csr_matrix(np.hstack([seen, filed])))
    assert apart.tolist() == [True] * 12 + [False]
    found = completeness(np.hstack([0.5 * chances, filed]), np.hstack([seen, filed]), apart)
    assert found == completeness(0.5 * chances, seen) < 0.6


def test_how_much_is_taken_away_is_not_found_on_a_tag_that_all_pictures_carry(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    single = np.eye(len(TAGS), dtype=bool)[np.random.default_rng(3).integers(0, len(TAGS), 320)]
    filed = np.hstack([single, np.ones((len(single), 1), bool)])
    data = data_of(filed, (*TAGS, "photos"), shown=single)
    assert trained(data, tmp_path_factory.mktemp("filed")).balance.refusal == SliderBalance.refusal


def test_nothing_is_said_to_be_forgotten_where_no_picture_has_two_tags() -> None:
    chances = np.random.default_rng(0).random((500, 6)).astype(np.float32)
    assert completeness(chances, np.eye(6, dtype=np.float32)[chances.argmax(axis=1)]) == 1.0


def test_an_image_is_found_by_a_tag_that_was_forgotten(tmp_path_factory: pytest.TempPathFactory) -> None:
    shown = drawn_tags(2000, seed=17)
    seen = shown & (np.random.default_rng(18).random(shown.shape) < 0.5)
    data = data_of(seen, shown=shown)
    model = trained(data, tmp_path_factory.mktemp("forgotten"))
    assert isinstance(model.model, KernelSage)
    assert model.metrics["completeness"] == pytest.approx(0.5, abs=0.15)
    completing = model.model.config.completed
    found = {complete: precision_of_tags(model, data, shown, complete) for complete in (0.0, completing)}
    assert found[completing] > found[0.0] + 0.1


def precision_of_tags(model: TrainedModel, data: GraphData, shown: np.ndarray, complete: float) -> float:
    """Mean R-precision of each tag as a question, against what the pictures show."""
    assert isinstance(model.model, KernelSage)
    model.model.config = replace(model.model.config, completed=complete)
    engine = QueryEngine(build_index(model, data))
    precision = []
    for tag, name in enumerate(TAGS):
        right = int(shown[:, tag].sum())
        rows = engine.search(engine.embed(Query(tags=(QueryTag(name),))), 0.0, right).rows
        precision.append(shown[rows, tag].mean())
    return float(np.mean(precision))


def test_what_is_refused_is_not_guessed(engine: QueryEngine, data: GraphData) -> None:
    red, circle = TAGS.index("red"), TAGS.index("circle")
    shown = np.zeros((20, len(TAGS)), dtype=bool)
    shown[:, circle] = True
    table, found = carries(data), []
    for picture in drawn_features(shown, seed=6):
        tags = (QueryTag("red"), QueryTag("circle", -1.0))
        found.append(table[engine.search(engine.embed(Query(images=picture[None], tags=tags)), 0.0, 10).rows])
    shares = np.concatenate(found).mean(axis=0)
    assert shares[red] > 0.9 and shares[circle] < 0.05


def without_circle(engine: QueryEngine, data: GraphData, weight: float) -> np.ndarray:
    """[tags]: what the results show for twenty pictures of large circles, without circles as far as that
    weighs.
    """
    shown = np.zeros((20, len(TAGS)), dtype=bool)
    shown[:, [TAGS.index("circle"), TAGS.index("large")]] = True
    table, found = carries(data), []
    for picture in drawn_features(shown, seed=6):
        tags = (QueryTag("circle", -weight),) if weight else ()
        found.append(table[engine.search(engine.embed(Query(images=picture[None], tags=tags)), 0.0, 10).rows])
    return np.asarray(np.concatenate(found).mean(axis=0))


def test_of_a_picture_what_is_refused_is_left_out_and_the_rest_is_kept(
    engine: QueryEngine, data: GraphData
) -> None:
    circle, large = TAGS.index("circle"), TAGS.index("large")
    alike, without_it = without_circle(engine, data, 0.0), without_circle(engine, data, 1.0)
    assert alike[circle] > 0.9 and alike[large] > 0.9
    assert without_it[circle] < 0.5 * alike[circle]
    assert without_it[large] > 0.9


def test_the_more_a_tag_is_refused_of_a_picture_the_less_of_it_is_left(
    engine: QueryEngine, data: GraphData
) -> None:
    left = [without_circle(engine, data, weight)[TAGS.index("circle")] for weight in (0.0, 0.5, 1.0, 3.0)]
    assert left == sorted(left, reverse=True) and left[-1] < 0.1


def test_a_tag_that_is_hardly_refused_hardly_changes_anything(engine: QueryEngine) -> None:
    picture = new_pictures(1)[1]
    alike = engine.embed(Query(images=picture))
    hardly = engine.embed(Query(images=picture, tags=(QueryTag("red", -1e-4),)))
    assert_allclose(hardly.conceptual, alike.conceptual, atol=1e-3)
    assert_allclose(hardly.visual, alike.visual, atol=1e-6)


@pytest.mark.parametrize("word", ["scarlet", "round things"])
def test_a_word_beside_a_picture_is_one_of_the_tags_it_may_mean_and_not_all_of_them(
    model: TrainedModel, data: GraphData, word: str
) -> None:
    """Each with a sixth of a chance: the set of all six is what nobody asked for."""
    reader = Reader(EncoderSpec("reader", "", len(TAGS), "none"))
    names = np.eye(len(TAGS), dtype=np.float32)
    engine = QueryEngine(build_index(model, replace(data, tag_text=names)), reader)
    picture = new_pictures(1)[1]
    alone = engine.embed(Query(images=picture))
    beside = engine.embed(Query(images=picture, tags=(QueryTag(word),)))
    every = engine.embed(Query(images=picture, tags=tuple(QueryTag(name) for name in TAGS)))

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

    assert cosine(beside.conceptual, alone.conceptual) > cosine(beside.conceptual, every.conceptual)


@given(weight=st.floats(0, 3))
def test_as_much_of_a_guess_is_left_as_is_not_refused(weight: float) -> None:
    refused = Csr.from_rows([0, 1], [2], [weight])
    left = without(np.full((2, 4), 0.5, dtype=np.float32), refused)
    assert_allclose(left[0], 0.5)
    assert_allclose(left[1], [0.5, 0.5, 0.5 * max(1 - weight, 0), 0.5], atol=1e-6)


@given(complete=st.floats(0.1, 1.0), less=st.floats(0.1, 1.0))
def test_the_fewer_tags_are_there_the_more_is_completed_up_to_what_is_likely(
    complete: float, less: float
) -> None:
    assert 0.0 <= completed_share(complete) <= 1.0
    if less <= complete:
        assert completed_share(less) >= completed_share(complete)
    assert completed_share(1.0) == 0.0


def test_each_of_many_questions_is_answered_as_precisely_as_one_alone(
    model: TrainedModel, data: GraphData, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = replace(data.text_encoder, weights_sha256="ab" * 32)  # words that are no pictures too
    engine = QueryEngine(build_index(model, data), Reader(apart))
    new = drawn_features(drawn_tags(36, seed=11), seed=11)
    modes: tuple[Attach, ...] = ("image", "tags", "mixed")
    red, refused, word = (QueryTag("red"),), (QueryTag("red", -1.0),), (QueryTag("no such tag"),)
    questions = [Query(text="what nobody has ever tagged a picture with"), Query(tags=word)]
    for row, picture in enumerate(new[:, None]):
        both, own = np.concatenate([picture, new[:1]]), data.features[row : row + 1]
        questions += [
            Query(images=picture),
            Query(images=picture, tags=red),
            Query(images=picture, tags=refused),
            Query(images=picture, tags=word),
            Query(images=picture, tags=red, attach=modes[row % 3]),
            Query(images=both, image_weights=(1.0, -0.5), tags=red),
            Query(images=own, image_rows=(row,), tags=refused),
        ]
    alone = [engine.embed(question) for question in questions]
    precise: list[bool] = []
    exact = kernel_sage.matern_kernel

    def noting(*inputs: Any, **how: Any) -> Any:
        precise.append(how["precise"])
        return exact(*inputs, **how)

    monkeypatch.setattr(kernel_sage, "matern_kernel", noting)
    for one, together in zip(alone, engine.embed_many(questions), strict=True):
        assert_allclose(one.visual, together.visual, atol=1e-5)
        assert_allclose(one.conceptual, together.conceptual, atol=1e-5)
    assert len(precise) > 3 and all(precise)
