"""Preset `graph-rise`: that it learns, resumes, and is read back with its options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnn.graph_data import GraphData
from gnn.model.kernels import rooted
from gnn.model.rise_sage import RiseSage
from gnn.objectives.graph_rise import GraphRiseObjective, RiseObjectiveConfig
from gnn.presets import GRAPH_RISE
from gnn.query import Query, QueryEngine, QueryTag
from gnn.reindex import build_index
from gnn.rise_training import new_rise
from gnn.trained_model import load_trained_model
from gnn.trainer import Trainer
from tests.gnn.interruption import StopAfter
from tests.gnn.worlds import TAGS, data_of, drawn_data, drawn_features, drawn_tags, trained

EPOCHS = 12


@pytest.fixture(scope="module")
def data() -> GraphData:
    return drawn_data()


@pytest.fixture(scope="module")
def whole(data: GraphData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    trained(data, folder, "graph-rise", epochs=EPOCHS).save(folder)
    return folder


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss_and_ranks_better(whole: Path) -> None:
    lines = history(whole)
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert max(line["ndcg_at_5"] for line in lines) > 0.8


def test_it_names_the_tags_of_new_pictures(data: GraphData, whole: Path) -> None:
    engine = QueryEngine(build_index(load_trained_model(whole), data))
    chosen = drawn_tags(60, seed=5)
    answers = engine.predict_tags(drawn_features(chosen, seed=5), 1)
    carried = chosen.any(axis=1)
    right = [chosen[row, TAGS.index(answer[0][0])] for row, answer in enumerate(answers) if carried[row]]
    assert np.mean(right) > 0.85


def test_the_visual_end_of_the_slider_is_about_looks_alone(data: GraphData, whole: Path) -> None:
    engine = QueryEngine(build_index(load_trained_model(whole), data))
    model = load_trained_model(whole).model
    assert isinstance(model, RiseSage)
    width = model.config.width
    picture = np.asarray(data.features[3:4])
    alone, told = (engine.embed(Query(images=picture, tags=tags)) for tags in ((), (QueryTag("red"),)))
    assert engine.search(alone, 1.0, 3).rows[0] == 3
    for vectors in (alone, told):
        assert np.array_equal(vectors.visual[width:], np.zeros(model.dim - width))
        assert np.array_equal(vectors.conceptual[:width], np.zeros(width))
    looks = engine.image_vectors(np.arange(len(data.ids)))[:, :width] @ alone.visual[:width]
    np.testing.assert_allclose(engine.search(told, 1.0, 20).score, np.sort(looks)[:-21:-1], atol=1e-5)


@pytest.mark.parametrize("after", [2, 7])
def test_an_interrupted_run_resumes_to_the_same_model(
    data: GraphData, whole: Path, tmp_path: Path, after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(data, tmp_path, "graph-rise", epochs=EPOCHS, progress=StopAfter(after))
    trained(data, tmp_path, "graph-rise", epochs=EPOCHS, resume=True).save(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_stored_model_comes_back_with_its_options(data: GraphData, tmp_path: Path) -> None:
    made = trained(data, tmp_path, "graph-rise", epochs=1, attention="2", related="0", alpha="0.5")
    made.save(tmp_path)
    read = load_trained_model(tmp_path)
    assert read.preset == made.preset
    assert read.preset.graph.related == 0
    assert isinstance(read.model, RiseSage)
    assert read.model.config.heads == 2


@pytest.mark.parametrize(
    "option",
    [{"alpha": "2"}, {"normaliser": "degree"}, {"ranking": "0"}, {"attention": "2"}, {"related": "0"}],
    ids=lambda option: next(iter(option)),
)
def test_every_option_changes_what_is_learnt(data: GraphData, tmp_path: Path, option: dict[str, str]) -> None:
    plain = trained(data, tmp_path / "plain", "graph-rise", epochs=2).model.state_dict()
    changed = trained(data, tmp_path / "changed", "graph-rise", epochs=2, **option).model.state_dict()
    name = "image_layers.1.own.weight"
    assert not torch.equal(plain[name], changed[name])


def objective_of(data: GraphData, folder: Path, **changes: float) -> GraphRiseObjective:
    made = trained(data, folder, "graph-rise", epochs=1)
    assert isinstance(made.model, RiseSage)
    index = build_index(made, data)
    return GraphRiseObjective(
        made.model,
        index.graph,
        torch.from_numpy(np.array(data.features)),
        made.preset.weights,
        RiseObjectiveConfig(**{"candidates": 1024, **changes}),  # type: ignore[arg-type]  # numbers of their kind
    )


def test_a_sampled_softmax_of_a_large_vocabulary_learns_too(tmp_path: Path) -> None:
    tags = tuple(f"tag-{number:03d}" for number in range(60))
    data = data_of(drawn_tags(80, tags=tags) & (np.random.default_rng(1).random((80, 60)) < 0.2), tags)
    objective = objective_of(data, tmp_path, candidates=16)
    loss = objective.loss(0, 0)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    assert torch.isfinite(loss)
    assert all(
        torch.isfinite(parameter.grad).all()
        for parameter in objective.parameters()
        if parameter.grad is not None
    )


def test_held_out_images_keep_no_tag_in_training(data: GraphData, tmp_path: Path) -> None:
    objective = objective_of(data, tmp_path)
    assert objective.held_images.size
    assert not objective.graph.tags_of_image.degrees()[objective.held_images].any()
    assert not np.isin(objective.held_images, objective.learnt).any()


@pytest.mark.parametrize(("preset", "where"), [("graph-rise", "rise"), ("paper", "sage")])
def test_features_are_read_where_they_lie(
    data: GraphData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str, where: str
) -> None:
    read: list[np.ndarray] = []

    class Noting(Trainer):
        def __init__(self, objective: Any, *rest: Any) -> None:
            read.append(objective.x.numpy())
            super().__init__(objective, *rest)

    monkeypatch.setattr(f"gnn.{where}_training.Trainer", Noting)
    trained(data, tmp_path, preset, epochs=1)
    assert np.shares_memory(read[0], data.features)


def test_the_inputs_of_a_large_catalogue_are_fitted_to_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    features = drawn_features(drawn_tags(1000))
    rows: list[int] = []

    def noting(x: torch.Tensor) -> torch.Tensor:
        rows.append(len(x))
        return rooted(x)

    recipe = GRAPH_RISE.rise
    assert recipe is not None
    monkeypatch.setattr("gnn.rise_training.rooted", noting)
    whole = new_rise(features, len(TAGS), recipe, seed=0)
    monkeypatch.setattr("gnn.projection._MOST_ROWS", 200)
    part = new_rise(features, len(TAGS), recipe, seed=0)
    assert rows == [1000, 200]
    assert torch.equal(new_rise(features[::5], len(TAGS), recipe, seed=0).axes, part.axes)
    assert not torch.equal(whole.axes, part.axes)
