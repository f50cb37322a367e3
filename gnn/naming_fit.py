"""Fitting the part of the default model that names tags (:mod:`gnn.model.tag_namer`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gnn.evaluation.mlp import MlpConfig, MlpInputs, train_network
from gnn.evaluation.relevance import TagTable
from gnn.model.likely_tags import LikelyTags
from gnn.model.tag_namer import TagNamer

HIDDEN = 512
NETWORKS = 2
FEWEST_STEPS = 600
MOST_EPOCHS = 40
USUAL_EPOCHS = 15
LARGE, LARGE_EPOCHS = 6000, 30
"""With more images there is more to learn than to forget: see `network_config`."""
FEWEST_EPOCHS = 5
MOST_VISITS = 900_000
MOST_CALIBRATED = 6000
MOST_CALIBRATED_CELLS = 8_000_000
_PULL = 3.0


@dataclass(frozen=True, eq=False)
class NamingData:
    """What a namer learns from, a row an image: `looks` [n, width], their `axes` [feature_dim, width] in the
    space of the rooted features, `votes` [n, tags], and `expected` [n, tags], which must not have learnt from
    the image itself; `truth`: [n, tags] 0/1.
    """

    looks: Tensor
    axes: Tensor
    votes: Tensor
    expected: Tensor
    truth: Tensor


def fit_namer(data: NamingData, seed: int = 0) -> TagNamer:
    """Both readings; the same seed gives the same namer."""
    features = (data.looks @ data.axes.T).numpy()
    votes = data.votes.numpy()
    scaler = MlpInputs.fit(features, votes)
    inputs = scaler(features, votes)
    tags = TagTable.from_dense(data.truth.numpy() > 0)
    config = network_config(len(features))
    networks = [train_network(inputs, tags, config, seed=seed + number) for number in range(NETWORKS)]
    deep = NETWORKS if config.layers > 1 else 0
    namer = TagNamer(data.looks.shape[1], data.votes.shape[1], HIDDEN * NETWORKS, deep)
    state = folded(networks, scaler, data.axes)
    chosen = calibrated_rows(len(data.truth), data.truth.shape[1], seed)
    state["slopes"], state["slopes_bias"] = fit_slopes(
        data.expected[chosen], data.votes[chosen], data.truth[chosen]
    )
    namer.load_state_dict(state)
    return namer.eval()


def network_config(images: int) -> MlpConfig:
    """How one of the perceptrons is trained on so many images.

    Of few, input dropout and decay keep it from learning them by heart; of many they keep it from learning
    enough, and there a second layer is worth its time (docs/decisions/0016). Larger steps spare a large
    catalogue a third of the time, and cost nothing.
    """
    if images > LARGE:
        return MlpConfig(
            hidden=HIDDEN,
            layers=2,
            dropout=0.3,
            input_dropout=0.1,
            weight_decay=0.5,
            batch=256,
            learning_rate=2e-3,
            epochs=epochs_for(images),
        )
    return MlpConfig(hidden=HIDDEN, weight_decay=1.0, epochs=epochs_for(images))


def epochs_for(images: int) -> int:
    """The usual number; more for a small catalogue, which has few steps an epoch, and for one that is too
    large to be learnt by heart; fewer for a very large one.
    """
    steps = max(images // MlpConfig().batch, 1)
    usual = LARGE_EPOCHS if images > LARGE else USUAL_EPOCHS
    wanted = max(usual, -(-FEWEST_STEPS // steps))
    affordable = max(MOST_VISITS // max(images, 1), FEWEST_EPOCHS)
    return min(wanted, MOST_EPOCHS, affordable)


def folded(networks: Sequence[nn.Sequential], scaler: MlpInputs, axes: Tensor) -> dict[str, Tensor]:
    """One wide perceptron on [u, vote] that says the mean of what these say on their standardised inputs.
    All have one hidden layer, or all have two.
    """
    linear = [[layer for layer in network if isinstance(layer, nn.Linear)] for network in networks]
    first, last = [layers[0] for layers in linear], [layers[-1] for layers in linear]
    second = [layers[1] for layers in linear if len(layers) > 2]
    inner = torch.cat([layer.weight.detach() for layer in first]).T
    outer = torch.cat([layer.weight.detach() for layer in last], dim=1).T / len(networks)
    mean = torch.from_numpy(np.concatenate([scaler.feature_mean, scaler.vote_mean]))
    scale = torch.from_numpy(np.concatenate([scaler.feature_scale, scaler.vote_scale]))
    scaled = inner / scale[:, None]
    features = len(axes)
    between = (
        {
            "second": torch.stack([layer.weight.detach().T for layer in second]),
            "second_bias": torch.cat([layer.bias.detach() for layer in second]),
        }
        if second
        else {}
    )
    return {
        **between,
        "inner": torch.cat([axes.T @ scaled[:features], scaled[features:]]),
        "inner_bias": torch.cat([layer.bias.detach() for layer in first]) - mean @ scaled,
        "outer": outer.contiguous(),
        "outer_bias": torch.stack([layer.bias.detach() for layer in last]).mean(dim=0),
    }


def fit_likely_tags(vectors: Tensor, expected: Tensor, votes: Tensor, truth: Tensor) -> LikelyTags:
    """vectors: e_t, [tags, tag_width], of the tags that get slopes; expected, votes: [n, tag_width], the
    first of which must not have learnt from the image itself; truth: [n, tags] 0/1.
    """
    likely = LikelyTags(vectors.shape[1], len(vectors))
    slopes, bias = fit_slopes(expected @ vectors.T, votes @ vectors.T, truth)
    likely.load_state_dict({"vectors": vectors, "slopes": slopes, "slopes_bias": bias})
    return likely.eval()


def most_calibrated(tags: int) -> int:
    """From so many images the slopes of that many tags are learnt."""
    return min(MOST_CALIBRATED, MOST_CALIBRATED_CELLS // max(tags, 1))


def calibrated_rows(images: int, tags: int, seed: int) -> Tensor:
    """Which of so many images these are, rising."""
    rows = np.random.default_rng(seed).permutation(images)[: most_calibrated(tags)]
    return torch.from_numpy(np.sort(rows))


def fit_slopes(expected: Tensor, votes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """[n, tags] each → ([2, tags], [tags]): logistic regression of each tag on its expectation and its vote,
    every tag pulled towards the slopes that all share: a rare tag has too few carriers for slopes of its own.
    """
    tags = truth.shape[1]
    inputs = torch.stack([expected, votes])
    mean, scale = inputs.mean(dim=(1, 2), keepdim=True), inputs.std(dim=(1, 2), keepdim=True) + 1e-6
    inputs = (inputs - mean) / scale
    common = torch.zeros(3, 1, requires_grad=True)
    own = torch.zeros(3, tags, requires_grad=True)
    strength = torch.tensor([0.1 * _PULL, _PULL, _PULL])[:, None]

    def logits() -> Tensor:
        bias, first, second = common + own
        said: Tensor = bias + first * inputs[0] + second * inputs[1]
        return said

    descent = torch.optim.LBFGS([common, own], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        descent.zero_grad()
        wrong = functional.binary_cross_entropy_with_logits(logits(), truth, reduction="sum")
        value = wrong + (strength * own.square()).sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it without annotations
        return value

    descent.step(loss)  # type: ignore[no-untyped-call]  # torch leaves it without annotations
    with torch.no_grad():
        bias, first, second = common + own
        slopes = torch.stack([first, second]) / scale[:, 0]
        return slopes, bias - (slopes * mean[:, 0]).sum(dim=0)
