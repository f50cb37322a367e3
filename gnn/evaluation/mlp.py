"""The strongest simple baseline: a multi-label perceptron on frozen features and the tag vote."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gnn.evaluation.baselines import VotePredictor, standardiser
from gnn.evaluation.relevance import TagTable
from gnn.model.dropout import FastDropout
from graph_store.arrays import Float32Array


@dataclass(frozen=True)
class MlpConfig:
    """Size and regularisation; the defaults are what won on photographs. layers: hidden ones."""

    hidden: int = 512
    layers: int = 1
    dropout: float = 0.5
    input_dropout: float = 0.3
    weight_decay: float = 0.2
    learning_rate: float = 1e-3
    batch: int = 128
    epochs: int = 40
    averaging: float = 0.995


@dataclass(frozen=True, eq=False)
class MlpInputs:
    """Standardises features and vote and puts them side by side.

    A training image's vote leaves the image itself out, as a new picture does not find itself in the index.
    """

    feature_mean: Float32Array
    feature_scale: Float32Array
    vote_mean: Float32Array
    vote_scale: Float32Array

    @classmethod
    def fit(cls, features: Float32Array, votes: Float32Array) -> MlpInputs:
        """features: [n, feature_dim] unit rows; votes: [n, num_tags]."""
        # A tag that the votes hardly ever name would be blown up by its tiny deviation.
        return cls(*standardiser(features), votes.mean(axis=0), votes.std(axis=0) + np.float32(1e-3))

    def __call__(self, features: Float32Array, votes: Float32Array) -> torch.Tensor:
        """[n, feature_dim], [n, num_tags] -> [n, feature_dim + num_tags]."""
        x = (features - self.feature_mean) / self.feature_scale
        v = (votes - self.vote_mean) / self.vote_scale
        return torch.from_numpy(np.concatenate([x, v], axis=1, dtype=np.float32))


def build_network(inputs: int, tags: int, config: MlpConfig) -> nn.Sequential:
    """Hidden layers with dropout before the first and after each."""
    parts: list[nn.Module] = [FastDropout(config.input_dropout)]
    for width in [inputs] + [config.hidden] * (config.layers - 1):
        parts += [nn.Linear(width, config.hidden), nn.ReLU(), FastDropout(config.dropout)]
    return nn.Sequential(*parts, nn.Linear(config.hidden, tags))


def probabilities(network: nn.Module, inputs: torch.Tensor) -> Float32Array:
    """[n, inputs] -> [n, num_tags] in (0, 1), without dropout."""
    network.eval()
    with torch.inference_mode():
        parts = [torch.sigmoid(network(part)) for part in torch.split(inputs, 4096)]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)


def train_network(
    inputs: torch.Tensor,
    tags: TagTable,
    config: MlpConfig,
    *,
    seed: int,
    after_epoch: Callable[[int, nn.Module], bool] | None = None,
) -> nn.Sequential:
    """Binary cross-entropy with AdamW; the answer is the moving average of the weights (Polyak and Juditsky).

    inputs: [n, inputs]. after_epoch(epoch from 1, averaged network) -> whether to stop. The average is
    worth about 0.008 nDCG@5 on photographs and steadies the choice of the epoch. The global random state of
    torch is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(inputs.shape[1], tags.num_tags, config)
        averaged = copy.deepcopy(network)
        # Fused: one pass over each weight, a sixth of a step less than the usual dozen.
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        step = 0
        for epoch in range(1, config.epochs + 1):
            network.train()
            for rows in torch.split(torch.randperm(len(inputs)), config.batch):
                truth = torch.from_numpy(tags.matrix[rows.numpy()].toarray())
                loss = functional.binary_cross_entropy_with_logits(network(inputs[rows]), truth)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
                optimiser.step()
                step += 1
                _follow(averaged, network, min(config.averaging, (1 + step) / (10 + step)))
            if after_epoch is not None and after_epoch(epoch, averaged):
                break
    return averaged


def _follow(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """averaged = decay * averaged + (1 - decay) * network."""
    with torch.no_grad():
        for mean, now in zip(averaged.parameters(), network.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)


@dataclass(frozen=True, eq=False)
class MlpPredictor:
    """Tag probabilities from features and vote."""

    network: nn.Module
    inputs: MlpInputs
    vote: VotePredictor

    def predict(self, features: Float32Array) -> Float32Array:
        """[n, feature_dim] unit rows -> [n, num_tags] in (0, 1)."""
        return probabilities(self.network, self.inputs(features, self.vote.predict(features)))

    def predict_indexed(self, features: Float32Array) -> Float32Array:
        """The same for the indexed images, whose votes leave themselves out."""
        return probabilities(self.network, self.inputs(features, self.vote.predict_indexed(features)))
