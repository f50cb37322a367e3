"""The training loop that every objective shares: seeded, resumable, early stopping, with curves.

What an objective learns is its own affair (:class:`Objective`); this file owns the optimiser, the
learning-rate schedule, checkpoints, the history and the decision to stop.

Determinism. Two sources of chance exist. Sampling must be a pure function of (seed, epoch, step), which
:func:`step_generator` makes easy; it then needs no state. Dropout draws from torch's generator, which is
seeded at the start and stored in every checkpoint. On the CPU with the same number of threads, the same
seed gives the same weights bit for bit, and a run that was interrupted and resumed gives those same
weights. A checkpoint is written between epochs; an interrupted epoch is repeated from its beginning.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gnn.checkpoint import (
    load_checkpoint,
    optimizer_state,
    optimizer_tensors,
    random_state,
    restore_random_state,
    save_checkpoint,
    strip_prefix,
    with_prefix,
)
from gnn.curves import plot_curves
from gnn.parallel import Team
from graph_store.durable import refusing_unwritable, write_bytes
from graph_store.errors import BadInput, ImsageError
from graph_store.progress import Progress, SilentProgress

CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.jsonl"
CURVES = "curves.png"


class TrainingDiverged(ImsageError):
    """The loss or the gradient became NaN or infinite."""

    code = "training-diverged"
    status = 500


class Objective(Protocol):
    """What is being learnt. ``monitor`` names the entry of :meth:`validate` that should grow.

    The objective switches its modules between training and evaluation itself: ``loss`` runs in training
    mode and ``validate`` in evaluation mode without gradients.
    """

    monitor: str

    def parameters(self) -> Iterable[nn.Parameter] | Iterable[dict[str, Any]]:
        """Parameters, or torch parameter groups (own ``weight_decay``, or ``lr`` at the schedule's peak)."""

    def num_steps(self, epoch: int) -> int:
        """Optimiser steps in this epoch (0-based)."""

    def loss(self, epoch: int, step: int) -> Tensor:
        """A scalar. Sampling in it must depend on (seed, epoch, step) only: see :func:`step_generator`."""

    def validate(self) -> dict[str, float]:
        """Metrics on the validation part; deterministic."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Everything that is learnt."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> Any:
        """The inverse of :meth:`state_dict`."""


@dataclass(frozen=True)
class TrainerSettings:
    """``patience``: epochs without a better monitored metric before stopping (None = never). ``keep``: whose
    weights the objective holds in the end, those of the best epoch by that metric (of the last where it has
    not moved at all) or those of the last.

    ``schedule``: the learning rate is constant, or falls to zero over ``max_epochs`` along half a cosine,
    after ``warmup_epochs`` of linear growth. ``fingerprint`` is JSON that says what is trained (preset,
    data version); resuming from a checkpoint with another fingerprint, seed or optimiser is refused.
    """

    seed: int = 0
    max_epochs: int = 50
    patience: int | None = 5
    min_delta: float = 0.0
    keep: Literal["best", "last"] = "best"
    checkpoint_every: int = 1
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = 0.0
    clip_norm: float | None = None
    bf16_on_cuda: bool = True
    fingerprint: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (
            self.max_epochs < 1
            or self.checkpoint_every < 1
            or (self.patience is not None and self.patience < 1)
        ):
            raise BadInput("max_epochs, checkpoint_every and patience must be at least 1")
        if not self.learning_rate > 0:
            raise BadInput(f"learning_rate must be above 0, not {self.learning_rate}")

    def identity(self) -> dict[str, Any]:
        """What must be equal for a resumed run to equal an uninterrupted one."""
        kept = asdict(self)
        for free in ("patience", "min_delta", "keep", "checkpoint_every"):
            del kept[free]
        if self.schedule == "constant":
            del kept["max_epochs"]  # more epochs of a constant rate simply go on
        result: dict[str, Any] = json.loads(json.dumps(kept, sort_keys=True))
        return result


@dataclass(frozen=True)
class TrainResult:
    """``epochs`` were run in all; ``best_epoch`` (1-based) had the best metric: the first of several that
    had, but the last epoch where all had the same and the best was to be kept.
    """

    epochs: int
    best_epoch: int
    best_metric: float
    stopped_early: bool
    seconds: float
    history: tuple[dict[str, float], ...]


def step_generator(seed: int, epoch: int, step: int) -> np.random.Generator:
    """The generator of one training step: the same for the same three numbers, whatever ran before."""
    return np.random.default_rng(np.random.SeedSequence([seed, epoch, step]))


@dataclass
class _Run:
    """What changes while training, and what a checkpoint must bring back."""

    epoch: int = 0
    best_epoch: int = 0
    best_metric: float = -math.inf
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


class Trainer:
    """Trains an objective and leaves its best weights in it, or the last.

    Writes into ``out_dir``: history.jsonl (one line an epoch), curves.png and checkpoint.safetensors; of a
    ``team`` of processes the first one does.
    """

    def __init__(
        self,
        objective: Objective,
        out_dir: Path,
        settings: TrainerSettings,
        progress: Progress | None = None,
        team: Team | None = None,
    ) -> None:
        self.team = team or Team()
        self.objective = objective
        self.out_dir = out_dir
        self.settings = settings
        self.progress = progress or SilentProgress()
        groups = _groups(objective.parameters(), settings)
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self.device = self._parameters[0].device
        kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = kind(groups, lr=settings.learning_rate)

    def run(self, resume: bool = False) -> TrainResult:
        """Train to the end. With ``resume`` go on from the checkpoint if there is one.

        Raises TrainingDiverged on a NaN or infinite loss, BadInput when the checkpoint is of another
        configuration or past ``max_epochs``, CorruptFile when it is damaged. The global torch generator is
        left as it was found.
        """
        with refusing_unwritable(self.out_dir):
            self.out_dir.mkdir(parents=True, exist_ok=True)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.settings.seed)
            run = self._restore() if resume and (self.out_dir / CHECKPOINT).exists() else _Run()
            stopped = self._train(run)
        best_epoch = run.best_epoch
        if self.settings.keep == "best":
            if any(line[self.objective.monitor] != run.best_metric for line in run.history):
                self.objective.load_state_dict(run.best)
            else:  # the metric tells no epoch from another, and what was learnt is in the last
                best_epoch = run.epoch
        if self.team.leads:
            plot_curves(run.history, self.out_dir / CURVES)
        return TrainResult(run.epoch, best_epoch, run.best_metric, stopped, run.seconds, tuple(run.history))

    def _train(self, run: _Run) -> bool:
        total = self.settings.max_epochs
        self._write_history(run)
        with self.progress.phase("train", total) as advance:
            advance(min(run.epoch, total))
            while run.epoch < total and not self._out_of_patience(run):
                started = time.perf_counter()
                loss = self._epoch(run.epoch)
                metrics = self.team.agreed(self.objective.validate())
                run.epoch += 1
                run.seconds += time.perf_counter() - started
                self._record(run, loss, metrics)
                last = run.epoch == total or self._out_of_patience(run)
                if self.team.leads and (last or run.epoch % self.settings.checkpoint_every == 0):
                    self._save(run)
                advance(1)
        return self._out_of_patience(run)

    def _epoch(self, epoch: int) -> float:
        """One pass; returns the mean loss."""
        steps = self.objective.num_steps(epoch)
        autocast = self.settings.bf16_on_cuda and self.device.type == "cuda"
        losses: list[float] = []
        for step in range(steps):
            self._set_learning_rate(epoch + step / steps)
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=autocast):
                loss = self.objective.loss(epoch, step)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise self._diverged("the loss", value, epoch, step)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward() without annotations
            self.team.add_up(self._parameters)
            if self.settings.clip_norm is not None:
                norm = float(nn.utils.clip_grad_norm_(self._parameters, self.settings.clip_norm))
                if not math.isfinite(norm):
                    raise self._diverged("the gradient", norm, epoch, step)
            self.optimizer.step()
            losses.append(value)
        return float(np.mean(losses)) if losses else 0.0

    def _set_learning_rate(self, at: float) -> None:
        """``at`` counts epochs, with the fraction of the running one: a pure function, so resuming needs no
        state.
        """
        factor = learning_rate_factor(self.settings, at)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor

    def _record(self, run: _Run, loss: float, metrics: dict[str, float]) -> None:
        metric = metrics[self.objective.monitor]
        if not math.isfinite(metric):
            raise self._diverged(f"the metric {self.objective.monitor}", metric, run.epoch - 1, None)
        if not run.best or metric > run.best_metric + self.settings.min_delta:
            run.best_epoch, run.best_metric = run.epoch, metric
            run.best = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in self.objective.state_dict().items()
            }
        rate = self.settings.learning_rate * learning_rate_factor(self.settings, run.epoch)
        run.history.append({"epoch": run.epoch, "loss": loss, "learning_rate": rate, **metrics})
        if not self.team.leads:
            return
        path = self.out_dir / HISTORY
        with refusing_unwritable(path), path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(run.history[-1]) + "\n")

    def _write_history(self, run: _Run) -> None:
        """Start again from what the checkpoint knows: a killed run may have written lines past it."""
        if not self.team.leads:
            return
        lines = "".join(json.dumps(line) + "\n" for line in run.history)
        write_bytes(self.out_dir / HISTORY, lines.encode())

    def _out_of_patience(self, run: _Run) -> bool:
        patience = self.settings.patience
        return patience is not None and run.epoch - run.best_epoch >= patience

    def _diverged(self, what: str, value: float, epoch: int, step: int | None) -> TrainingDiverged:
        where = f"epoch {epoch + 1}" + ("" if step is None else f", step {step + 1}")
        return TrainingDiverged(
            f"training diverged: {what} became {value} at {where}",
            hint="Lower the learning rate, or look for broken features. The last checkpoint is kept.",
        )

    def _save(self, run: _Run) -> None:
        slots, plain = optimizer_tensors(self.optimizer.state_dict())
        tensors = {
            **with_prefix("now/", self.objective.state_dict()),
            **with_prefix("best/", run.best),
            **with_prefix("optimizer/", slots),
            **with_prefix("random/", random_state(self.device)),
        }
        meta = {
            "epoch": run.epoch,
            "best_epoch": run.best_epoch,
            "best_metric": run.best_metric,
            "seconds": run.seconds,
            "history": run.history,
            "optimizer": plain,
            "identity": self.settings.identity(),
        }
        save_checkpoint(self.out_dir / CHECKPOINT, tensors, meta)

    def can_resume(self) -> bool:
        """Whether there is a checkpoint of this very configuration. Raises CorruptFile."""
        path = self.out_dir / CHECKPOINT
        return path.exists() and load_checkpoint(path)[1]["identity"] == self.settings.identity()

    def _refuse_another(self, meta: Mapping[str, Any]) -> None:
        """Raises BadInput for a checkpoint that a run of these settings cannot go on from."""
        now, then = self.settings.identity(), meta["identity"]
        epochs, planned = self.settings.max_epochs, then.get("max_epochs")
        if planned is not None and planned != epochs and _but_for_length(now) == _but_for_length(then):
            raise BadInput(
                f"{CHECKPOINT} is of a run over {planned} epochs, along which the learning rate falls: "
                f"it cannot go on as one over {epochs}",
                hint=f"Ask for {planned} epochs, or train again without resuming.",
            )
        if now != then:
            raise BadInput(
                f"{CHECKPOINT} comes from another configuration (seed, preset, data or optimiser)",
                hint="Train again without resuming.",
            )
        if meta["epoch"] > epochs:
            raise BadInput(
                f"{CHECKPOINT} is of epoch {meta['epoch']}, past the {epochs} that are asked for",
                hint=f"Ask for {meta['epoch']} epochs or more, or train again without resuming.",
            )

    def _restore(self) -> _Run:
        path = self.out_dir / CHECKPOINT
        tensors, meta = load_checkpoint(path)
        self._refuse_another(meta)
        self.objective.load_state_dict(strip_prefix("now/", tensors))
        self.optimizer.load_state_dict(
            optimizer_state(strip_prefix("optimizer/", tensors), meta["optimizer"])
        )
        restore_random_state(strip_prefix("random/", tensors), self.device)
        return _Run(
            epoch=meta["epoch"],
            best_epoch=meta["best_epoch"],
            best_metric=meta["best_metric"],
            seconds=meta["seconds"],
            history=meta["history"],
            best=strip_prefix("best/", tensors),
        )


def learning_rate_factor(settings: TrainerSettings, at: float) -> float:
    """Share of the peak learning rate after ``at`` epochs: linear warm-up, then constant or half a cosine
    to zero.
    """
    if settings.warmup_epochs > 0 and at < settings.warmup_epochs:
        return max(at, 1e-3) / settings.warmup_epochs
    if settings.schedule == "constant":
        return 1.0
    span = max(settings.max_epochs - settings.warmup_epochs, 1e-9)
    done = min((at - settings.warmup_epochs) / span, 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * done))


def _but_for_length(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of an identity where a run's length, and what follows from it, does not matter."""
    return {name: value for name, value in identity.items() if name not in ("max_epochs", "warmup_epochs")}


def _groups(
    given: Iterable[nn.Parameter] | Iterable[dict[str, Any]], settings: TrainerSettings
) -> list[dict[str, Any]]:
    """Torch parameter groups, each with its ``peak_lr``; plain parameters become one group."""
    items: list[Any] = list(given)
    if not items:
        raise BadInput("the objective has nothing to train")
    groups: list[dict[str, Any]] = (
        [dict(item) for item in items] if isinstance(items[0], dict) else [{"params": items}]
    )
    for group in groups:
        group["params"] = list(group["params"])
        group.setdefault("lr", settings.learning_rate)
        group.setdefault("weight_decay", settings.weight_decay)
        group["peak_lr"] = group["lr"]
    return groups
