"""Probabilities of the tags of a compressed vocabulary."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gnn import kernel_fit
from gnn.graph_data import GraphData
from gnn.kernel_candidates import Candidate
from gnn.kernel_fit import Ground, lay_ground, naming_model
from gnn.kernel_validation import hold_out_views
from gnn.model.kernel_sage import KernelSage
from gnn.model.likely_tags import SHARE, LikelyTags, both_readings
from gnn.model.tag_sets import EXACT_UP_TO
from gnn.naming_fit import MOST_CALIBRATED, calibrated_rows, most_calibrated
from gnn.presets import DEFAULT
from gnn.query import Query, QueryEngine
from gnn.query_types import QueryTag
from gnn.reindex import build_index
from gnn.trained_model import TrainedModel
from graph_store.arrays import Float32Array
from tests.gnn.worlds import data_of, trained

WIDTH, TAGS = 6, 9


def drawn(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def drawn_likely(tags: int = TAGS) -> LikelyTags:
    likely = LikelyTags(WIDTH, tags)
    vectors = torch.linalg.qr(drawn(TAGS, WIDTH, 1)).Q[:tags]
    state = {"vectors": vectors, "slopes": drawn(2, tags, 2), "slopes_bias": drawn(1, tags, 3)[0]}
    likely.load_state_dict(state)
    return likely


def test_what_is_expected_of_each_tag_gives_way_to_its_probability() -> None:
    likely = drawn_likely()
    vectors, slopes, bias = (likely.get_buffer(name) for name in ("vectors", "slopes", "slopes_bias"))
    expected, votes = drawn(4, WIDTH, 4), drawn(4, WIDTH, 5)
    for row, told in enumerate(likely(expected, votes)):
        wanted = expected[row].clone()
        for tag, vector in enumerate(vectors):
            of_expected = expected[row] @ vector
            logit = bias[tag] + slopes[0, tag] * of_expected + slopes[1, tag] * (votes[row] @ vector)
            wanted += (torch.sigmoid(logit) - of_expected) * vector
        torch.testing.assert_close(told, wanted, atol=1e-5, rtol=1e-4)


def test_where_all_tags_have_slopes_nothing_is_left_of_the_expectation_itself() -> None:
    likely = drawn_likely()
    vectors = likely.get_buffer("vectors")
    told = likely(drawn(3, WIDTH, 6), torch.zeros(3, WIDTH))
    with_none = LikelyTags(WIDTH, TAGS)
    with_none.load_state_dict({**likely.state_dict(), "slopes": torch.zeros(2, TAGS)})
    # Without slopes the probabilities are the same for all, so whatever was expected must be gone.
    same = with_none(drawn(3, WIDTH, 6), torch.zeros(3, WIDTH))
    chances = torch.sigmoid(likely.get_buffer("slopes_bias")) @ vectors
    torch.testing.assert_close(same, chances.expand(3, -1), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(told, same, atol=1e-2)


def test_rare_tags_without_slopes_keep_what_is_expected_of_them() -> None:
    some, every = drawn_likely(tags=2), drawn_likely()
    beside = torch.linalg.qr(every.get_buffer("vectors")[:2].T, mode="complete").Q[:, 2:]
    expected = drawn(5, WIDTH, 7)
    told = some(expected, drawn(5, WIDTH, 8))
    torch.testing.assert_close(told @ beside, expected @ beside, atol=1e-5, rtol=1e-4)


def test_of_two_readings_the_second_is_heard_at_its_share_of_the_length_of_the_first() -> None:
    expected, likely = drawn(4, WIDTH, 9), 7 * drawn(4, WIDTH, 10)
    added = both_readings(expected, likely) - expected
    lengths = torch.linalg.vector_norm(expected, dim=1)
    torch.testing.assert_close(torch.linalg.vector_norm(added, dim=1), SHARE * lengths)
    torch.testing.assert_close(torch.cosine_similarity(added, likely), torch.ones(4))


def test_where_nothing_is_likely_the_expectation_stands() -> None:
    expected = drawn(4, WIDTH, 11)
    assert torch.equal(both_readings(expected, torch.zeros(4, WIDTH)), expected)


def test_the_more_tags_the_fewer_images_teach_their_slopes() -> None:
    assert most_calibrated(100) == MOST_CALIBRATED
    assert 1000 < most_calibrated(4096) < most_calibrated(2000) < MOST_CALIBRATED
    assert len(calibrated_rows(5000, 4096, 0)) == most_calibrated(4096)
    assert calibrated_rows(30, 4096, 0).tolist() == list(range(30))


@pytest.fixture(scope="module")
def data() -> GraphData:
    """Twelve looks, each with a tag of its own; of the other tags nothing can be seen."""
    rng = np.random.default_rng(3)
    names = tuple(f"tag {number:03}" for number in range(EXACT_UP_TO + 88))
    chosen = rng.random((360, len(names))) < 3 / len(names)
    look = np.arange(len(chosen)) % 12
    chosen[:, :12] = False
    chosen[np.arange(len(chosen)), look] = True
    made = data_of(chosen, names)
    features = np.eye(12, made.features.shape[1])[look] + 0.05 * rng.standard_normal(made.features.shape)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return replace(made, features=unit.astype(np.float32))


@pytest.fixture(scope="module")
def ground(data: GraphData) -> Ground:
    return lay_ground(data.features, data.tags_of_image, data.tag_text, DEFAULT, seed=0)


def likely_of(model: KernelSage) -> LikelyTags:
    assert model.likely is not None and model.config.likely_tags == len(model.likely.get_buffer("vectors"))
    return model.likely


def test_what_can_be_seen_becomes_likely_and_what_cannot_becomes_rare(
    ground: Ground, data: GraphData
) -> None:
    model = naming_model(ground, Candidate())
    vectors = likely_of(model).get_buffer("vectors")
    with torch.inference_mode():
        predicted = model.predict_apart(ground.inputs * model.input_weights())
        likely = model.likely_sets(ground.states, predicted)
    truth = torch.zeros(len(likely), data.num_tags)
    truth[torch.from_numpy(data.tags_of_image.edge_rows()), torch.from_numpy(data.tags_of_image.indices)] = 1

    def wrong(sets: Tensor) -> Tensor:
        return ((sets @ vectors.T - truth) ** 2).sum(dim=1)

    seen = (likely @ vectors.T)[truth[:, :12].argmax(dim=1).argsort()][:, :12]
    assert seen[:30, 0].mean() > 0.8
    assert wrong(likely).mean() < 0.98 * wrong(predicted).mean()


def test_only_the_commonest_of_a_vast_vocabulary_have_slopes(
    ground: Ground, data: GraphData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_fit, "MOST_LIKELY_TAGS", 12)
    likely = likely_of(naming_model(ground, Candidate()))
    table = ground.skeleton.get_buffer("tag_vectors")[:12, : ground.expected]
    assert torch.equal(likely.get_buffer("vectors")[:, : ground.expected], table)


def test_learning_slopes_holds_no_column_of_a_tag_that_has_none(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_fit, "MOST_LIKELY_TAGS", 12)
    tracemalloc.start()
    try:
        naming_model(ground, Candidate())
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    images, tags = len(ground.solved), ground.graph.num_tags
    assert most < images * tags * np.dtype(np.float32).itemsize / 2


def test_what_a_tag_says_of_its_own_is_told_and_never_expected(ground: Ground) -> None:
    model = naming_model(ground, Candidate())
    own = slice(ground.expected, None)
    table = model.get_buffer("tag_vectors")[:, : model.config.tag_width]
    assert table[:, own].abs().max() > 0.1
    predicted = model.predict(model.readout_inputs(ground.states))
    assert not model.likely_sets(ground.states, predicted)[:, own].any()


def test_a_rare_tag_of_a_large_vocabulary_finds_the_images_that_carry_it(
    data: GraphData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_fit, "COMPRESSED_TAGS", (30,))
    engine = QueryEngine(build_index(trained(data, tmp_path, epochs=1), data))
    carriers = [engine.carried.of_tag.row(tag)[0] for tag in range(data.num_tags)]
    rare = [tag for tag, images in enumerate(carriers) if 1 <= len(images) <= 3]
    found = []
    for tag in rare:
        asked = engine.embed(Query(tags=(QueryTag(data.tag_names[tag]),)))
        rows = engine.search(asked, 0.0, len(carriers[tag])).rows
        found.append(np.isin(rows, carriers[tag]).mean())
    assert len(rare) > 100 and np.mean(found) > 0.98


@pytest.fixture(scope="module")
def asking(data: GraphData, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return trained(data, tmp_path_factory.mktemp("asking"), epochs=1)


def asked_by(model: TrainedModel, data: GraphData, query: Query) -> Float32Array:
    """The tag view of what is asked for at the end of concepts."""
    assert isinstance(model.model, KernelSage)
    asked = QueryEngine(build_index(model, data)).embed(query)
    return asked.blend(0.0)[model.model.config.visual_dim :]


def without_directions(asking: TrainedModel) -> TrainedModel:
    """As models were that were trained before tags had a direction."""
    state = asking.model.state_dict()
    del state["asking"]
    assert isinstance(asking.model, KernelSage)
    model = KernelSage(replace(asking.model.config, asking=False))
    model.load_state_dict(state)
    return replace(asking, model=model.eval())


TWO_TAGS = Query(tags=(QueryTag("tag 003"), QueryTag("tag 200", 2.0)))


def test_tags_without_a_picture_are_asked_for_by_the_direction_to_their_images(
    data: GraphData, asking: TrainedModel
) -> None:
    plain = asked_by(without_directions(asking), data, TWO_TAGS)
    directed = asked_by(asking, data, TWO_TAGS)
    wanted = torch.from_numpy(plain) @ asking.model.get_buffer("asking")
    torch.testing.assert_close(
        torch.from_numpy(directed / np.linalg.norm(directed)), wanted / wanted.norm(), atol=1e-5, rtol=0
    )
    assert float(directed @ plain) < 0.99 * float(np.linalg.norm(directed) * np.linalg.norm(plain))


def test_a_model_of_before_asks_for_tags_by_their_vectors(data: GraphData, asking: TrainedModel) -> None:
    table = asking.model.get_buffer("tag_vectors")
    asked = asked_by(without_directions(asking), data, Query(tags=(QueryTag("tag 200"),)))
    vector = table[200, : len(asked)].numpy()
    assert asked @ vector == pytest.approx(np.linalg.norm(asked) * np.linalg.norm(vector), rel=1e-5)


def test_tags_beside_a_picture_are_asked_for_as_before(data: GraphData, asking: TrainedModel) -> None:
    beside = replace(TWO_TAGS, images=np.asarray(data.features[:1]))
    same = asked_by(without_directions(asking), data, beside)
    np.testing.assert_allclose(asked_by(asking, data, beside), same, atol=1e-6)


def test_a_catalogue_too_large_for_wide_views_has_narrow_ones_and_no_slopes(
    data: GraphData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_fit, "COMPRESSED_TAGS", (20, 40))
    wide = lay_ground(data.features, data.tags_of_image, data.tag_text, DEFAULT, seed=0)
    monkeypatch.setattr(kernel_fit, "MOST_WIDE", len(data.features) - 1)
    narrow = lay_ground(data.features, data.tags_of_image, data.tag_text, DEFAULT, seed=0)
    assert (wide.expected, narrow.expected) == (40, 20)
    assert naming_model(wide, Candidate()).likely is not None
    assert naming_model(narrow, Candidate()).likely is None


def test_the_numbers_of_a_large_catalogue_are_chosen_on_narrow_views_too(
    data: GraphData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_fit, "MOST_WIDE", len(data.features) - 1)
    part = np.arange(0, len(data.features), 2)
    views = hold_out_views(data, part, DEFAULT, np.random.default_rng(0))
    assert views is not None and not views.ground.wide
    model = trained(data, tmp_path, epochs=1).model
    assert isinstance(model, KernelSage)
    assert model.likely is None and not model.config.named_view


def test_probabilities_are_kept_with_the_model(ground: Ground) -> None:
    model = naming_model(ground, Candidate())
    kept = KernelSage(model.config)
    kept.load_state_dict(model.state_dict())
    state = ground.states[:5]
    with torch.inference_mode():
        predicted = model.predict(model.readout_inputs(state))
        assert torch.equal(model.likely_sets(state, predicted), kept.likely_sets(state, predicted))
