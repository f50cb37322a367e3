"""Graph agreement: wrong edges are found, right ones kept, and sure tags added."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnn.agreement.agree import Agreed, agree
from gnn.agreement.believed import with_believed_tags
from gnn.agreement.posterior import Belief, believe
from gnn.graph_build import build_graph
from gnn.graph_data import GraphData
from gnn.kernel_validation import hold_out_views
from gnn.presets import DEFAULT, Preset, preset_named
from gnn.recipe_options import with_options
from gnn.reindex import build_index
from gnn.trainer import Trainer
from gnn.training import learnt_aside
from graph_store.arrays import BoolArray, Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.errors import BadInput
from graph_store.graph import Graph
from tests.gnn.worlds import TAGS, data_of, drawn_tags, trained

WRONG = 0.3


@pytest.fixture(scope="module")
def shown() -> BoolArray:
    return drawn_tags(700, seed=3)


@pytest.fixture(scope="module")
def data(shown: BoolArray) -> GraphData:
    return data_of(shown)


@pytest.fixture(scope="module")
def clean(data: GraphData) -> Graph:
    return build_graph(data.features, data.tags_of_image, data.tag_text, replace(DEFAULT.graph, related=0))


def spoilt(graph: Graph) -> Graph:
    """A share of both kinds of edges leads elsewhere, at the weight that it had."""
    rng = np.random.default_rng(0)
    similar, has = graph.similar, graph.tags_of_image
    away = np.where(
        rng.random(similar.num_edges) < WRONG,
        rng.integers(0, graph.num_images, similar.num_edges),
        similar.indices,
    )
    told = np.where(
        rng.random(has.num_edges) < WRONG, rng.integers(0, graph.num_tags, has.num_edges), has.indices
    )
    once = np.unique(has.edge_rows() * graph.num_tags + told, return_index=True)[1]
    tags = Csr.from_edges(has.edge_rows()[once], told[once], has.weights[once], graph.num_images)
    return Graph(
        graph.num_images,
        graph.num_tags,
        Csr.from_edges(similar.edge_rows(), away, similar.weights, graph.num_images),
        tags,
        tags.transpose(graph.num_tags),
        graph.related,
    )


@pytest.fixture(scope="module")
def noisy(clean: Graph) -> Graph:
    return spoilt(clean)


@pytest.fixture(scope="module")
def agreed(noisy: Graph, data: GraphData) -> Agreed:
    return agree(noisy, data.features, rounds=2)


def right(graph: Graph, shown: BoolArray) -> float:
    has = graph.tags_of_image
    return float(shown[has.edge_rows(), has.indices].mean())


def alike(graph: Graph, shown: BoolArray) -> float:
    """Share of `similar` edges whose ends carry a tag in common."""
    rows, cols = graph.similar.edge_rows(), graph.similar.indices
    return float((shown[rows] & shown[cols]).any(axis=1).mean())


def test_most_wrong_tags_are_pruned(noisy: Graph, agreed: Agreed, shown: BoolArray) -> None:
    assert right(agreed.graph, shown) > right(noisy, shown) + 0.8 * (1 - right(noisy, shown))


def test_most_right_tags_are_kept(noisy: Graph, agreed: Agreed, shown: BoolArray) -> None:
    def carried(graph: Graph) -> set[tuple[int, int]]:
        has = graph.tags_of_image
        ends = zip(has.edge_rows().tolist(), has.indices.tolist(), strict=True)
        return {(image, tag) for image, tag in ends if shown[image, tag]}

    assert len(carried(noisy) & carried(agreed.graph)) > 0.85 * len(carried(noisy))


def test_similar_edges_share_tags_again(clean: Graph, noisy: Graph, agreed: Agreed, shown: BoolArray) -> None:
    lost = alike(clean, shown) - alike(noisy, shown)
    assert alike(agreed.graph, shown) > alike(noisy, shown) + 0.5 * lost


def test_sure_predictions_become_tags(agreed: Agreed, noisy: Graph, shown: BoolArray) -> None:
    has, before = agreed.graph.tags_of_image, noisy.tags_of_image
    given = set(zip(before.edge_rows().tolist(), before.indices.tolist(), strict=True))
    new = [
        (image, tag)
        for image, tag in zip(has.edge_rows().tolist(), has.indices.tolist(), strict=True)
        if (image, tag) not in given
    ]
    assert len(new) == agreed.extended > 20
    assert np.mean([shown[image, tag] for image, tag in new]) > 0.8


def test_a_clean_graph_is_left_almost_alone(clean: Graph, data: GraphData) -> None:
    found = agree(clean, data.features, rounds=1)
    assert found.graph.tags_of_image.num_edges > 0.9 * clean.tags_of_image.num_edges
    assert found.graph.similar.num_edges > 0.9 * clean.similar.num_edges


def test_no_round_changes_nothing(noisy: Graph, data: GraphData) -> None:
    assert agree(noisy, data.features, rounds=0).graph is noisy


def test_the_same_seed_believes_the_same(noisy: Graph, data: GraphData, agreed: Agreed) -> None:
    again = agree(noisy, data.features, rounds=2).graph.tags_of_image
    np.testing.assert_array_equal(again.indices, agreed.graph.tags_of_image.indices)
    np.testing.assert_array_equal(again.weights, agreed.graph.tags_of_image.weights)


@pytest.mark.parametrize("wrong", [0.0, 0.3, 0.6])
def test_the_share_of_wrong_edges_is_estimated(wrong: float) -> None:
    rng = np.random.default_rng(0)
    apart = rng.normal(4.0, 1.0, 20_000)
    scores = np.where(rng.random(20_000) < wrong, rng.normal(0.0, 1.0, 20_000), apart)
    belief = believe(scores, rng.normal(0.0, 1.0, 20_000))
    assert belief.wrong_share == pytest.approx(wrong, abs=0.05)
    assert belief.right.mean() == pytest.approx(1 - wrong, abs=0.06)


def test_one_low_bin_that_is_full_by_chance_lifts_no_other() -> None:
    """Every twentieth of chance holds fifty wrong edges, but the third, which has right ones as well."""
    chance = np.linspace(0, 1, 20_001)
    scores = np.concatenate([np.linspace(0, 1, 1001), np.full(80, 0.125), np.full(1000, 2.0)])
    right = believe(scores, chance).right
    assert (right[:900] < 0.5).all()
    assert (right[-1000:] > 0.9).all()


def test_a_higher_score_is_never_believed_less() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(1.0, 1.0, 500)
    belief = believe(scores, rng.normal(0.0, 1.0, 500)).right
    assert (np.diff(belief[np.argsort(scores)]) >= 0).all()


def test_where_all_pairs_of_chance_score_the_same_those_above_are_believed() -> None:
    belief = believe(np.array([0.0, 0.0, 1.0, 2.0]), np.zeros(1000))
    assert belief.right.tolist() == [0, 0, 1, 1]
    assert belief.wrong_share == 0.5


def test_many_pairs_with_the_lowest_score_are_one_bin() -> None:
    """The share of wrong edges is read from it: of 100 edges ten lie where nine tenths of the pairs do."""
    chance = np.concatenate([np.zeros(900), np.linspace(0.1, 1, 100)])
    belief = believe(np.concatenate([np.zeros(10), np.full(90, 5.0)]), chance)
    assert belief.wrong_share == pytest.approx(0.1 / 0.9)
    assert (belief.right[10:] > 0.9).all()


@pytest.mark.parametrize("sizes", [[30] * 10, [60] * 4, [100, 100], [120, 80]])
def test_the_tags_of_folders_of_like_sizes_are_believed(sizes: list[int]) -> None:
    """All that nothing is known of have the same score then."""
    folder = np.repeat(np.arange(len(sizes)), sizes)
    data = data_of(np.arange(len(sizes)) == folder[:, np.newaxis], [f"folder {i}" for i in range(len(sizes))])
    believed = with_believed_tags(data, with_options(DEFAULT, {"agreement": "1"}))
    assert believed.tags_of_image.num_edges == data.tags_of_image.num_edges == len(folder)


def test_right_edges_stay_where_all_images_share_their_only_tag() -> None:
    data = data_of(np.ones((200, 1), bool), TAGS[:1])
    graph = build_graph(data.features, data.tags_of_image, data.tag_text, replace(DEFAULT.graph, related=0))
    found = agree(graph, data.features, rounds=1)
    assert found.graph.similar.num_edges == graph.similar.num_edges
    assert found.wrong_similar == 0


@pytest.mark.parametrize("sizes", [[110, 90], [120, 80], [160, 40]])
def test_right_edges_stay_where_one_of_two_folders_has_most_of_the_images(sizes: list[int]) -> None:
    """Without the tag of that folder all its images would be as if they had none."""
    folder = np.repeat(np.arange(len(sizes)), sizes)
    data = data_of(np.arange(len(sizes)) == folder[:, np.newaxis], [f"folder {i}" for i in range(len(sizes))])
    graph = build_graph(data.features, data.tags_of_image, data.tag_text, replace(DEFAULT.graph, related=0))
    assert agree(graph, data.features, rounds=1).graph.similar.num_edges == graph.similar.num_edges


def with_tags(graph: Graph, tags_of_image: Csr, num_tags: int) -> Graph:
    return replace(
        graph,
        num_tags=num_tags,
        tags_of_image=tags_of_image,
        images_of_tag=tags_of_image.transpose(num_tags),
        related=Csr.empty(num_tags),
    )


def test_a_tag_that_all_images_carry_believes_no_similar_edge_more(noisy: Graph, data: GraphData) -> None:
    has, num = noisy.tags_of_image, noisy.num_images
    filed = Csr.from_edges(
        np.concatenate([has.edge_rows(), np.arange(num)]),
        np.concatenate([has.indices, np.full(num, len(TAGS))]),
        np.ones(has.num_edges + num),
        num,
    )
    everywhere = agree(with_tags(noisy, filed, len(TAGS) + 1), data.features, rounds=1)
    plain = agree(noisy, data.features, rounds=1)
    assert everywhere.wrong_similar == plain.wrong_similar > 0.1
    np.testing.assert_array_equal(everywhere.graph.similar.indices, plain.graph.similar.indices)


@pytest.mark.parametrize("unit", [0.01, 100.0])
def test_what_is_believed_does_not_depend_on_the_unit_of_weights(
    noisy: Graph, data: GraphData, agreed: Agreed, unit: float
) -> None:
    has = noisy.tags_of_image
    heavy = Csr(has.indptr, has.indices, has.weights * np.float32(unit))
    found = agree(with_tags(noisy, heavy, noisy.num_tags), data.features, rounds=2)
    assert found.extended == agreed.extended
    told, expected = found.graph.tags_of_image, agreed.graph.tags_of_image
    np.testing.assert_array_equal(told.indices, expected.indices)
    np.testing.assert_allclose(told.weights, unit * expected.weights, rtol=1e-3)


def test_a_preset_whose_tags_are_all_disbelieved_says_so(
    data: GraphData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disbelieve(scores: np.ndarray, chance: np.ndarray) -> Belief:
        return Belief(np.zeros(len(scores), dtype=np.float32), 1.0)

    monkeypatch.setattr("gnn.agreement.agree.believe", disbelieve)
    monkeypatch.setattr("gnn.agreement.agree.CONFIDENT", 2.0)
    with pytest.raises(BadInput, match=r"believes none of the \d+ tags"):
        with_believed_tags(data, with_options(DEFAULT, {"agreement": "1"}))


@pytest.mark.parametrize("preset", ["default", "paper", "hash"])
def test_the_index_is_made_of_what_the_model_has_learnt_from(
    data: GraphData, noisy: Graph, preset: str
) -> None:
    wrong = replace(data, tags_of_image=noisy.tags_of_image)
    recipe = with_options(preset_named(preset), {"agreement": "1"})
    learnt = with_believed_tags(wrong, recipe)
    graph = build_index(learnt_aside(recipe, wrong, epochs=1, seed=0), wrong).graph
    unjudged = build_index(learnt_aside(preset_named(preset), wrong, epochs=1, seed=0), wrong).graph
    for ours, theirs in (
        (graph.tags_of_image, learnt.tags_of_image),
        (graph.similar, unjudged.similar),
    ):
        np.testing.assert_array_equal(ours.indices, theirs.indices)
        np.testing.assert_array_equal(ours.weights, theirs.weights)


def test_codes_are_learnt_for_tags_that_are_judged_once(
    data: GraphData, noisy: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[int] = []

    def noted(graph: Graph, features: Float32Array, preset: Preset) -> Graph:
        rounds.append(preset.agreement)
        return agree(graph, features, preset.agreement).graph

    monkeypatch.setattr("gnn.agreement.believed.believed_graph", noted)
    monkeypatch.setattr("gnn.catalogue_embedding.believed_graph", noted)
    recipe = with_options(preset_named("hash"), {"agreement": "1"})
    made = learnt_aside(recipe, replace(data, tags_of_image=noisy.tags_of_image), epochs=1, seed=0)
    assert rounds == [1, 1]  # those that candidates are measured without and with; none for the codes
    assert made.preset.agreement == 1
    assert made.hashing is not None


@pytest.mark.parametrize("preset", ["default", "graph-rise"])
def test_the_index_of_a_preset_with_agreement_holds_the_believed_tags(
    data: GraphData, noisy: Graph, shown: BoolArray, tmp_path: Path, preset: str
) -> None:
    wrong = replace(data, tags_of_image=noisy.tags_of_image)
    made = trained(wrong, tmp_path, preset, epochs=1, agreement="1")
    assert right(build_index(made, wrong).graph, shown) > right(noisy, shown) + 0.03
    assert build_index(made, wrong).tag_names == TAGS


def test_a_model_of_other_data_is_learnt_from_believed_tags_too(
    data: GraphData, noisy: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[GraphData] = []

    def noted(seen: GraphData, recipe: Preset) -> GraphData:
        learnt.append(with_believed_tags(seen, recipe))
        return learnt[-1]

    monkeypatch.setattr("gnn.training.with_believed_tags", noted)
    wrong = replace(data, tags_of_image=noisy.tags_of_image)
    recipe = with_options(DEFAULT, {"agreement": "1"})
    made = learnt_aside(recipe, wrong, epochs=1, seed=0)
    assert [made.data] == [each.fingerprint() for each in learnt]


def test_candidates_are_measured_on_tags_as_they_were_given(
    data: GraphData, noisy: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(data, tags_of_image=noisy.tags_of_image)
    measured: list[Csr] = []

    def noted(given: GraphData, rows: Int64Array, preset: Preset, rng: np.random.Generator) -> None:
        measured.append(given.tags_of_image)

    monkeypatch.setattr("gnn.kernel_training.hold_out_views", noted)
    recipe = with_options(DEFAULT, {"agreement": "1"})
    learnt_aside(recipe, wrong, epochs=1, seed=0)
    assert [tags.equals(noisy.tags_of_image) for tags in measured] == [True]

    rows = np.arange(noisy.num_images)
    judged, plain = (hold_out_views(wrong, rows, how, np.random.default_rng(0)) for how in (recipe, DEFAULT))
    assert judged is not None and plain is not None
    np.testing.assert_array_equal(judged.truth, plain.truth)
    told = np.asarray([row in plain.indexed for row in judged.indexed])
    np.testing.assert_array_equal(
        judged.carried[told].toarray(), plain.carried[np.isin(plain.indexed, judged.indexed)].toarray()
    )
    assert not judged.ground.graph.tags_of_image.equals(plain.ground.graph.tags_of_image)


@pytest.mark.parametrize(("preset", "where"), [("graph-rise", "rise"), ("paper", "sage")])
def test_edges_are_judged_without_the_tags_that_a_model_is_validated_on(
    data: GraphData, noisy: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str, where: str
) -> None:
    seen: list[Graph] = []

    def believing(graph: Graph, features: Float32Array, preset: Preset) -> Graph:
        seen.append(graph)
        every = Csr.from_edges(np.arange(700), np.zeros(700), np.ones(700), 700)
        return with_tags(graph, every, graph.num_tags)

    objectives: list[Any] = []

    class Noting(Trainer):
        def __init__(self, objective: Any, *rest: Any) -> None:
            objectives.append(objective)
            super().__init__(objective, *rest)

    monkeypatch.setattr(f"gnn.{where}_training.believed_graph", believing)
    monkeypatch.setattr(f"gnn.{where}_training.Trainer", Noting)
    wrong = replace(data, tags_of_image=noisy.tags_of_image)
    trained(wrong, tmp_path, preset, epochs=1, agreement="1")
    (graph,), (objective,) = seen, objectives
    held = objective.held_images
    assert len(held) and not graph.tags_of_image.degrees()[held].any()
    assert graph.tags_of_image.num_edges == wrong.tags_of_image.num_edges - objective.hidden.num_edges
    assert objective.hidden.equals(wrong.tags_of_image.take(held))
    assert not objective.graph.tags_of_image.degrees()[held].any()
