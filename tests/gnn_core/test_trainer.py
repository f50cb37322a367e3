"""The training loop: same seed same weights, resume equals no interruption, early stopping, divergence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gnn.trainer import (
    CHECKPOINT,
    Trainer,
    TrainerSettings,
    TrainResult,
    learning_rate_factor,
    step_generator,
)
from graph_store.errors import BadInput, CorruptFile, ImsageError


class Regression:
    """A small real objective: fit y = sum(x) with dropout, so that torch's generator matters."""

    monitor = "score"

    def __init__(self, seed: int, on_step: Callable[[int, int], None] | None = None) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
        self.seed = seed
        self.on_step = on_step

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()

    def num_steps(self, epoch: int) -> int:
        return 5

    def loss(self, epoch: int, step: int) -> Tensor:
        if self.on_step:
            self.on_step(epoch, step)
        self.model.train()
        x = torch.from_numpy(step_generator(self.seed, epoch, step).standard_normal((32, 6))).float()
        return ((self.model(x).squeeze(1) - x.sum(1)) ** 2).mean()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.model.eval()
        x = torch.from_numpy(step_generator(99, 0, 0).standard_normal((64, 6))).float()
        return {"score": -float(((self.model(x).squeeze(1) - x.sum(1)) ** 2).mean())}

    def state_dict(self) -> Mapping[str, Tensor]:
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> Any:
        return self.model.load_state_dict(state)


def settings(**changes: Any) -> TrainerSettings:
    return TrainerSettings(**{"max_epochs": 6, "learning_rate": 0.01, "schedule": "cosine", **changes})


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def trained(out: Path, seed: int = 0, **changes: Any) -> tuple[Regression, TrainResult]:
    objective = Regression(seed)
    return objective, Trainer(objective, out, settings(seed=seed, **changes)).run()


def test_the_same_seed_gives_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    first, one = trained(tmp_path / "a")
    torch.rand(17)  # whatever the program drew in between must not matter
    second, two = trained(tmp_path / "b")
    other, _ = trained(tmp_path / "c", seed=1)
    assert same(first.state_dict(), second.state_dict())
    assert one.history == two.history
    assert not same(first.state_dict(), other.state_dict())


def test_training_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    trained(tmp_path)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("checkpoint_every", [1, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, optimizer: str, checkpoint_every: int
) -> None:
    chosen = settings(optimizer=optimizer, checkpoint_every=checkpoint_every)
    whole = Regression(0)
    expected = Trainer(whole, tmp_path / "whole", chosen).run()

    def kill_in_epoch_four(epoch: int, step: int) -> None:
        if (epoch, step) == (3, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(Regression(0, kill_in_epoch_four), tmp_path / "cut", chosen).run()
    resumed = Regression(5)  # other first weights: all must come from the checkpoint
    resumed.seed = 0
    result = Trainer(resumed, tmp_path / "cut", chosen).run(resume=True)

    assert same(whole.state_dict(), resumed.state_dict())
    assert result.history == expected.history
    lines = (tmp_path / "cut" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(expected.history)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_resuming_a_finished_run_changes_nothing(tmp_path: Path, schedule: str) -> None:
    first, one = trained(tmp_path, schedule=schedule)
    again = Regression(3)
    two = Trainer(again, tmp_path, settings(schedule=schedule)).run(resume=True)
    assert same(first.state_dict(), again.state_dict())
    assert (one.epochs, one.best_epoch, one.history) == (two.epochs, two.best_epoch, two.history)


def test_resuming_without_a_checkpoint_starts_from_the_beginning(tmp_path: Path) -> None:
    assert Trainer(Regression(0), tmp_path, settings()).run(resume=True).epochs == 6


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"learning_rate": 0.5},
        {"fingerprint": {"preset": "other"}},
        {"seed": 1, "max_epochs": 4},
        {"seed": 1, "max_epochs": 4, "schedule": "constant"},
    ],
)
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    trained(tmp_path)
    with pytest.raises(BadInput, match="another configuration"):
        Trainer(Regression(0), tmp_path, settings(**change)).run(resume=True)


def test_a_run_past_the_epochs_that_are_asked_for_is_refused_with_a_way_out(tmp_path: Path) -> None:
    trained(tmp_path, schedule="constant", patience=None)
    shorter = settings(schedule="constant", patience=None, max_epochs=4)
    with pytest.raises(BadInput, match=r"epoch 6, past the 4") as caught:
        Trainer(Regression(0), tmp_path, shorter).run(resume=True)
    assert "6 epochs or more" in str(caught.value.hint)


@pytest.mark.parametrize("epochs", [4, 9])
def test_a_falling_rate_goes_on_over_its_own_epochs_only_and_says_so(tmp_path: Path, epochs: int) -> None:
    trained(tmp_path, warmup_epochs=1.0)
    other = settings(max_epochs=epochs, warmup_epochs=0.5)
    with pytest.raises(BadInput, match=f"over 6 epochs.* one over {epochs}") as caught:
        Trainer(Regression(0), tmp_path, other).run(resume=True)
    assert "Ask for 6 epochs" in str(caught.value.hint)


def test_a_refused_run_leaves_its_history_as_it_was(tmp_path: Path) -> None:
    trained(tmp_path, schedule="constant", patience=None)
    before = (tmp_path / "history.jsonl").read_bytes()
    with pytest.raises(BadInput):
        Trainer(Regression(0), tmp_path, settings(schedule="constant", max_epochs=4)).run(resume=True)
    assert (tmp_path / "history.jsonl").read_bytes() == before


def test_a_constant_rate_may_be_resumed_for_more_epochs(tmp_path: Path) -> None:
    trained(tmp_path / "short", schedule="constant", patience=None)
    longer = settings(schedule="constant", patience=None, max_epochs=9)
    resumed, whole = Regression(0), Regression(0)
    Trainer(resumed, tmp_path / "short", longer).run(resume=True)
    Trainer(whole, tmp_path / "whole", longer).run()
    assert same(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"\xff" * 16 + b[16:], lambda b: b""]
)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    trained(tmp_path)
    path = tmp_path / CHECKPOINT
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptFile, match=CHECKPOINT):
        Trainer(Regression(0), tmp_path, settings()).run(resume=True)


class Scripted(Regression):
    """The real objective with a scripted metric, to place the best epoch."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__(0)
        self.scores = iter(scores)
        self.seen: list[dict[str, Tensor]] = []

    def validate(self) -> dict[str, float]:
        self.seen.append({name: tensor.clone() for name, tensor in self.state_dict().items()})
        return {"score": next(self.scores)}


def test_training_stops_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    objective = Scripted([0.1, 0.5, 0.4, 0.3, 0.45, 0.9])
    result = Trainer(objective, tmp_path, settings(patience=3)).run()
    assert (result.epochs, result.best_epoch, result.best_metric) == (5, 2, 0.5)
    assert result.stopped_early
    assert same(objective.state_dict(), objective.seen[1])


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_metric_that_tells_no_epoch_from_another_keeps_the_last_weights(
    tmp_path: Path, score: float
) -> None:
    chosen = settings(patience=None, max_epochs=4)
    objective = Scripted([score] * 4)
    result = Trainer(objective, tmp_path, chosen).run()
    assert (result.epochs, result.best_epoch, result.best_metric) == (4, 4, score)
    assert same(objective.state_dict(), objective.seen[3])
    resumed = Regression(5)
    Trainer(resumed, tmp_path, chosen).run(resume=True)
    assert same(resumed.state_dict(), objective.seen[3])


def test_the_last_weights_are_kept_where_a_recipe_chooses_nothing(tmp_path: Path) -> None:
    objective = Scripted([0.1, 0.5, 0.4])
    result = Trainer(objective, tmp_path, settings(patience=None, max_epochs=3, keep="last")).run()
    assert (result.epochs, result.best_epoch) == (3, 2)
    assert same(objective.state_dict(), objective.seen[2])


def test_without_patience_training_runs_to_the_end(tmp_path: Path) -> None:
    result = Trainer(Scripted([0.5, 0.1, 0.1, 0.1, 0.1, 0.1]), tmp_path, settings(patience=None)).run()
    assert (result.epochs, result.best_epoch, result.stopped_early) == (6, 1, False)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_loss_stops_with_a_clear_error(tmp_path: Path, value: float) -> None:
    class Breaks(Regression):
        def loss(self, epoch: int, step: int) -> Tensor:
            loss = super().loss(epoch, step)
            return loss * value if (epoch, step) == (1, 3) else loss

    with pytest.raises(ImsageError, match=r"diverged.*epoch 2, step 4") as caught:
        Trainer(Breaks(0), tmp_path, settings()).run()
    assert caught.value.hint
    assert Trainer(Regression(0), tmp_path, settings()).run(resume=True).epochs == 6


def test_an_infinite_gradient_stops_with_a_clear_error(tmp_path: Path) -> None:
    class Steep(Regression):
        def loss(self, epoch: int, step: int) -> Tensor:
            weight = self.model[0].weight
            return super().loss(epoch, step) + torch.sqrt((weight - weight.detach()).abs()).sum()

    with pytest.raises(ImsageError, match="gradient"):
        Trainer(Steep(0), tmp_path, settings(clip_norm=1.0)).run()


def test_history_and_curves_are_written(tmp_path: Path) -> None:
    _, result = trained(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, result.epochs + 1))
    assert {"loss", "score", "learning_rate"} <= lines[0].keys()
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_an_objective_with_nothing_to_learn_is_refused(tmp_path: Path) -> None:
    class Empty(Regression):
        def parameters(self) -> Iterator[nn.Parameter]:
            return iter(())

    with pytest.raises(BadInput, match="nothing to train"):
        Trainer(Empty(0), tmp_path, settings())


def test_parameter_groups_keep_their_own_rate_and_decay(tmp_path: Path) -> None:
    class Grouped(Regression):
        def parameters(self) -> Any:
            return [
                {"params": self.model[0].parameters(), "lr": 0.1, "weight_decay": 0.02},
                {"params": self.model[3].parameters()},
            ]

    trainer = Trainer(Grouped(0), tmp_path, settings(schedule="constant", max_epochs=1))
    trainer.run()
    first, second = trainer.optimizer.param_groups
    assert (first["lr"], first["weight_decay"]) == (0.1, 0.02)
    assert (second["lr"], second["weight_decay"]) == (0.01, 0.0)


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    chosen = settings(max_epochs=10, warmup_epochs=2)
    rates = [learning_rate_factor(chosen, at) for at in (0.0, 1.0, 2.0, 6.0, 10.0)]
    assert rates == pytest.approx([0.0005, 0.5, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("change", [{"max_epochs": 0}, {"patience": 0}, {"learning_rate": 0.0}])
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        settings(**change)
