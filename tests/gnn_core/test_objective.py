"""The paper's objective, end to end: it learns, repeats, resumes, and refuses what cannot be learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnn.objectives.random_walk import RandomWalkConfig, RandomWalkObjective, best_reciprocal_rank
from gnn.trainer import Trainer, TrainerSettings, TrainResult
from graph_store.csr import Csr
from graph_store.errors import BadInput
from graph_store.graph import Graph
from tests.gnn_core.worlds import FEATURES, TEXT, World, random_world, small_sage

TAGS, IMAGES = 8, 160


def clustered_world() -> World:
    """Eight kinds of image, told apart by their features; a kind's tag is on all of its images."""
    rng = np.random.default_rng(0)
    kind = np.arange(IMAGES) % TAGS
    x = (3 * rng.standard_normal((TAGS, FEATURES))[kind] + rng.standard_normal((IMAGES, FEATURES))) / 3
    nearest = np.stack([rng.choice(np.flatnonzero(kind == k), 4, replace=False) for k in kind])
    similar = Csr.from_edges(
        np.repeat(np.arange(IMAGES), 4), nearest.ravel(), np.full(IMAGES * 4, 0.9), IMAGES
    )
    has = Csr.from_edges(np.arange(IMAGES), kind, np.ones(IMAGES), IMAGES)
    graph = Graph(IMAGES, TAGS, similar, has, has.transpose(TAGS), Csr.empty(TAGS))
    return World(graph, torch.from_numpy(x.astype(np.float32)), torch.zeros(TAGS, TEXT))


def objective(seed: int = 0, world: World | None = None, **changes: Any) -> RandomWalkObjective:
    world = world or clustered_world()
    model = small_sage(tags=world.graph.num_tags, seed=seed, dropout=0.2)
    config = RandomWalkConfig(**{"batch_size": 64, "seed": seed, "validation_share": 0.2, **changes})
    return RandomWalkObjective(model, world.graph, world.x, world.tag_text, config)


def trained(out: Path, seed: int = 0, epochs: int = 15) -> tuple[RandomWalkObjective, TrainResult]:
    subject = objective(seed)
    settings = TrainerSettings(
        seed=seed, max_epochs=epochs, patience=None, optimizer="adam", learning_rate=0.01
    )
    return subject, Trainer(subject, out, settings).run()


def test_it_learns_to_name_the_tags_of_images_it_saw_untagged(tmp_path: Path) -> None:
    before = objective().validate()["tag_mrr"]
    subject, result = trained(tmp_path, epochs=40)
    assert result.best_metric > max(0.8, before + 0.2)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert subject.validate()["tag_mrr"] == result.best_metric


def test_the_same_seed_gives_the_same_weights_and_a_resumed_run_too(tmp_path: Path) -> None:
    one, _ = trained(tmp_path / "a", epochs=4)
    two, _ = trained(tmp_path / "b", epochs=2)
    settings = TrainerSettings(max_epochs=4, patience=None, optimizer="adam", learning_rate=0.01)
    two = objective()
    Trainer(two, tmp_path / "b", settings).run(resume=True)
    three, _ = trained(tmp_path / "c", seed=1, epochs=4)
    weights = [subject.state_dict()["tag_table.weight"] for subject in (one, two, three)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_every_image_starts_one_walk_an_epoch() -> None:
    subject = objective(batch_size=50)
    seen: list[np.ndarray] = []
    walk = subject.walker.walk

    def watched(starts: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
        seen.append(starts)
        return walk(starts, length, rng)

    subject.walker.walk = watched  # type: ignore[method-assign]  # watches, and calls the real one
    for step in range(subject.num_steps(0)):
        subject.loss(0, step)
    assert sorted(np.concatenate(seen)) == list(range(IMAGES))


def test_held_out_images_show_no_tags_in_training() -> None:
    subject = objective()
    assert subject.held_images.size == 32
    assert subject.sampler.graph.tags_of_image.degrees()[subject.held_images].max() == 0
    assert not np.isin(subject.sampler.graph.images_of_tag.indices, subject.held_images).any()


@pytest.mark.parametrize("tags", [0, 14])
def test_any_graph_with_edges_can_be_learnt_from(tags: int, tmp_path: Path) -> None:
    subject = objective(world=random_world(tags=tags))
    result = Trainer(subject, tmp_path, TrainerSettings(max_epochs=2)).run()
    assert np.isfinite(result.history[-1]["loss"])


def test_a_batch_in_which_nobody_meets_anybody_changes_nothing() -> None:
    lonely = Graph(3, 0, Csr.from_edges([0], [1], [0.9], 3), Csr.empty(3), Csr.empty(0), Csr.empty(0))
    world = World(lonely, torch.randn(3, FEATURES), torch.zeros(0, TEXT))
    subject = objective(world=world, batch_size=1)
    for step in range(3):
        loss = subject.loss(0, step)
        loss.backward()
        assert torch.isfinite(loss)


def test_a_graph_without_edges_is_refused() -> None:
    empty = Graph(1, 0, Csr.empty(1), Csr.empty(1), Csr.empty(0), Csr.empty(0))
    with pytest.raises(BadInput, match="nothing to learn"):
        objective(world=World(empty, torch.randn(1, FEATURES), torch.zeros(0, TEXT)))


def test_the_metric_is_the_reciprocal_rank_of_the_best_true_tag() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.2, 0.2, 0.1]])
    truth = np.array([[False, True, True], [True, False, False]])
    assert best_reciprocal_rank(scores, truth) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_the_defaults_are_the_papers_hyper_parameters() -> None:
    config = RandomWalkConfig()
    assert (config.fan_outs, config.max_degree, config.negatives, config.batch_size) == (
        (25, 10),
        100,
        20,
        512,
    )
