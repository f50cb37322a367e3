"""Fitting the part of the default model that names tags (:mod:`gnn.model.tag_namer`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gnn.evaluation.mlp import MlpInputs, train_network
from gnn.evaluation.relevance import TagTable
from gnn.model.likely_tags import LikelyTags
from gnn.model.tag_namer import TagNamer
from gnn.naming_recipes import NamingRecipe, recipes_for

NETWORKS = 2
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


class NamerFitting:
    """Namers of several recipes for the same data; the same seed gives the same namer.

    A perceptron that was trained to be compared is not trained again to be used.
    """

    def __init__(self, data: NamingData, seed: int = 0) -> None:
        self._data, self._seed = data, seed
        features, votes = (data.looks @ data.axes.T).numpy(), data.votes.numpy()
        self._scaler = MlpInputs.fit(features, votes)
        self._inputs = self._scaler(features, votes)
        self._tags = TagTable.from_dense(data.truth.numpy() > 0)
        self._trained: dict[NamingRecipe, list[nn.Sequential]] = {}

    def namer(self, recipe: NamingRecipe) -> TagNamer:
        """Both readings."""
        data = self._data
        state = folded(self._networks(recipe, NETWORKS), self._scaler, data.axes)
        chosen = calibrated_rows(len(data.truth), data.truth.shape[1], self._seed)
        state["slopes"], state["slopes_bias"] = fit_slopes(
            data.expected[chosen], data.votes[chosen], data.truth[chosen]
        )
        namer = TagNamer(
            data.looks.shape[1],
            data.votes.shape[1],
            len(state["inner_bias"]),
            NETWORKS if "second" in state else 0,
        )
        namer.load_state_dict(state)
        return namer.eval()

    def best_recipe(self, looks: Tensor, votes: Tensor, truth: Tensor) -> NamingRecipe:
        """The recipe whose first perceptron says best what is in pictures [n, width], [n, tags] that it has
        not seen, by the cross-entropy of their true tags [n, tags] 0/1, which two runs of one recipe differ
        less by than by any measure of ranking.
        """
        recipes = recipes_for(len(self._inputs))
        if len(recipes) == 1:
            return recipes[0]
        inputs = self._scaler((looks @ self._data.axes.T).numpy(), votes.numpy())

        def surprise(recipe: NamingRecipe) -> float:
            (network,) = self._networks(recipe, 1)
            with torch.inference_mode():
                logits = network.eval()(inputs)
            return float(functional.binary_cross_entropy_with_logits(logits, truth))

        return min(recipes, key=surprise)

    def _networks(self, recipe: NamingRecipe, count: int) -> list[nn.Sequential]:
        trained = self._trained.setdefault(recipe, [])
        config = recipe.at(len(self._inputs))
        for number in range(len(trained), count):
            trained.append(train_network(self._inputs, self._tags, config, seed=self._seed + number))
        return trained[:count]


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
    mean = inputs.mean(dim=(1, 2), keepdim=True)
    scale = inputs.std(dim=(1, 2), keepdim=True, correction=0) + 1e-6  # of one image with one tag: no NaN
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
