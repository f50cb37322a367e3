"""The default model for one new picture: the formulas of :mod:`gnn.model.kernel_sage` over plain arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gnn.model.kernel_sage import KernelSage
from gnn.model.likely_tags import SHARE, LikelyTags
from gnn.model.tag_namer import TagNamer
from gnn.projection import rooted
from graph_store.arrays import Float32Array, Int64Array

_FAINT = 0.1
_NONE = 1e-12


class KernelState(NamedTuple):
    """What the readout takes: z [width + neighbour_width + vote_width], whose first part are the looks, and
    the neighbours' vote [tag_width] as it came.
    """

    inputs: Float32Array
    vote: Float32Array


class KernelPicture:
    """The steps of :class:`gnn.picture_alone.LonePicture`."""

    def __init__(self, model: KernelSage, image_states: Sequence[Float32Array]) -> None:
        """image_states: h^0 and h^1 of the index. The model's arrays are shared, not copied."""
        config = self._config = model.config
        # Views of the columns that are heard: picking rows of them copies nothing else.
        self._neighbours = image_states[0][:, : config.neighbour_width]
        self._votes = image_states[1][:, model.tags_start : model.tags_start + config.tag_width]
        self._mean, self._axes, self._landmarks, self._values = (
            model.get_buffer(name).numpy() for name in ("mean", "axes", "landmarks", "values")
        )
        self._vote_axes = model.get_buffer("vote_axes").numpy() if model.cuts_votes else None
        self._lengths = np.einsum("ij,ij->i", self._landmarks, self._landmarks, dtype=np.float64)
        self._middle, bias = model.centre()
        self._bias = bias.numpy()
        self._likely: Callable[[Float32Array, Float32Array, Float32Array], Float32Array] | None = None
        if config.named_view and model.namer is not None:
            share = config.naming_share if config.view_share is None else config.view_share
            self._likely = _Namer(model.namer, share)
        elif config.named_view and model.likely is not None:
            self._likely = _Likely(model.likely)

    def inputs(self, features: Float32Array) -> Float32Array:
        """u [width] of features [feature_dim]."""
        projected: Float32Array = (rooted(features) - self._mean) @ self._axes
        projected /= max(_length(projected), _NONE)
        return projected

    def messages(self, similar: Int64Array, weights: Float32Array) -> list[Float32Array]:
        """ū [neighbour_width] and the vote [tag_width]."""
        return [weights @ self._neighbours[similar], weights @ self._votes[similar]]

    def layers(self, inputs: Float32Array, messages: list[Float32Array]) -> KernelState:
        """z and the vote."""
        config = self._config
        neighbours, vote = messages
        looks, seen = config.width, config.width + config.neighbour_width
        z = np.empty(seen + config.vote_width, np.float32)
        z[:looks] = inputs
        np.multiply(neighbours, config.neighbour_weight / max(_length(neighbours), _NONE), out=z[looks:seen])
        kept = vote if self._vote_axes is None else vote @ self._vote_axes
        np.multiply(kept, config.vote_weight / max(_length(vote), _NONE), out=z[seen:])
        return KernelState(z, vote)

    def embedding(self, state: KernelState) -> Float32Array:
        """[dim]: looks and the two conceptual blocks of f(z)."""
        config = self._config
        predicted = self._read(state.inputs)
        jaccard, tags = predicted[: config.jaccard_rank], predicted[config.jaccard_rank :]
        least = _FAINT
        if self._likely is not None:
            tags = self._likely(state.inputs[: config.width], state.vote, tags)
            least = _FAINT if config.size_width else 1.0
        elif not config.size_width:  # coordinates of single tags cannot be negative; compressed ones can
            tags = np.maximum(tags, 0)
        seen = state.inputs[: config.visual_dim]
        return np.concatenate(
            [
                seen / max(_length(seen), _NONE),
                jaccard * (config.trust_jaccard / max(_length(jaccard), _FAINT)),
                tags * (config.trust_tags / max(_length(tags), least)),
            ],
            dtype=np.float32,
        )

    def _read(self, inputs: Float32Array) -> Float32Array:
        """f(z) [jaccard_rank + tag_width] of z: two products with some megabytes each, which is what
        attaching costs (docs/performance.md, "Attachment"). What lies between is in double precision, as the
        model has it.
        """
        distances = (self._landmarks @ inputs).astype(np.float64)
        distances *= -2
        distances += self._lengths
        distances += np.dot(inputs, inputs)
        np.sqrt(np.maximum(distances, 0, out=distances), out=distances)
        distances /= self._config.length
        kernel = np.exp(-distances)
        distances += 1
        kernel *= distances
        kernel -= self._middle
        result: Float32Array = kernel.astype(np.float32) @ self._values
        result += self._bias
        return result


class _Namer:
    """:class:`gnn.model.tag_namer.TagNamer` for one picture."""

    def __init__(self, namer: TagNamer, share: float) -> None:
        self._share = np.float32(share)
        self._inner, self._inner_bias, self._outer, self._outer_bias, self._slopes, self._slopes_bias = (
            namer.get_buffer(name).numpy()
            for name in ("inner", "inner_bias", "outer", "outer_bias", "slopes", "slopes_bias")
        )
        self._second: tuple[Float32Array, Float32Array] | None = None
        if namer.deep:
            self._second = namer.get_buffer("second").numpy(), namer.get_buffer("second_bias").numpy()

    def __call__(self, looks: Float32Array, vote: Float32Array, expected: Float32Array) -> Float32Array:
        """looks [width], vote and expected [tags] → [tags] in (0, 1)."""
        logits = np.zeros_like(vote)
        if self._share > 0:
            hidden = np.concatenate([looks, vote]) @ self._inner
            hidden += self._inner_bias
            np.maximum(hidden, 0, out=hidden)
            if self._second is not None:
                weights, bias = self._second
                hidden = (hidden.reshape(len(weights), 1, -1) @ weights).ravel()
                hidden += bias
                np.maximum(hidden, 0, out=hidden)
            logits += self._share * (hidden @ self._outer + self._outer_bias)
        if self._share < 1:
            logits += (1 - self._share) * (
                self._slopes_bias + self._slopes[0] * expected + self._slopes[1] * vote
            )
        return _sigmoid(logits)


class _Likely:
    """:mod:`gnn.model.likely_tags` for one picture."""

    def __init__(self, likely: LikelyTags) -> None:
        self._vectors, self._slopes, self._bias = (
            likely.get_buffer(name).numpy() for name in ("vectors", "slopes", "slopes_bias")
        )

    def __call__(self, looks: Float32Array, vote: Float32Array, expected: Float32Array) -> Float32Array:
        """vote and expected [tag_width] → [tag_width]."""
        del looks
        of_expected, of_vote = np.stack([expected, vote]) @ self._vectors.T
        logits = self._bias + self._slopes[0] * of_expected + self._slopes[1] * of_vote
        likely = expected + (_sigmoid(logits) - of_expected) @ self._vectors
        result: Float32Array = expected + SHARE * _length(expected) / max(_length(likely), _NONE) * likely
        return result


def _sigmoid(logits: Float32Array) -> Float32Array:
    with np.errstate(over="ignore"):  # of a very improbable tag: 1 / inf is its 0
        result: Float32Array = np.reciprocal(1 + np.exp(-logits), dtype=np.float32)
    return result


def _length(vector: Float32Array) -> float:
    return math.sqrt(vector @ vector)
