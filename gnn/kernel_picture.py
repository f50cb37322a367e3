"""The default model for the commonest question: one new picture without tags.

The same formulas as :mod:`gnn.model.kernel_sage`, written out over plain arrays for a single node: with one
row, the general form spends most of its time between its seventy small operations. Tests hold the two to
each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gnn.model.kernel_sage import KernelSage
from gnn.projection import rooted
from graph_store.arrays import Float32Array, Int64Array

_FAINT = np.float32(0.1)
_NONE = np.float32(1e-12)


class PictureAlone:
    """Embeds a picture by its features and its `similar` images."""

    def __init__(self, model: KernelSage, image_states: Sequence[Float32Array]) -> None:
        """image_states: h^0 and h^1 of the index. The model's arrays are shared, not copied."""
        config = self._config = model.config
        self._states = image_states
        self._tags = slice(model.tags_start, model.tags_start + config.tag_width)
        self._mean, self._axes, self._landmarks, self._values = (
            model.get_buffer(name).numpy() for name in ("mean", "axes", "landmarks", "values")
        )
        self._vote_axes = model.get_buffer("vote_axes").numpy() if model.cuts_votes else None
        self._lengths = np.einsum("ij,ij->i", self._landmarks, self._landmarks)
        middle, bias = model.centre()
        self._middle, self._bias = np.float32(middle), bias.numpy()

    @classmethod
    def of(cls, model: object, image_states: Sequence[Float32Array]) -> PictureAlone | None:
        """None for a model of another kind, and for one whose namer has a say in its tag view."""
        if isinstance(model, KernelSage) and not model.config.named_view and model.config.num_landmarks:
            return cls(model, image_states)
        return None

    def looks(self, features: Float32Array) -> Float32Array:
        """u [1, width] of features [1, feature_dim]."""
        projected = (rooted(features) - self._mean) @ self._axes
        unit: Float32Array = projected / max(_length(projected), _NONE)
        return unit

    def embedding(self, looks: Float32Array, similar: Int64Array, weights: Float32Array) -> Float32Array:
        """[1, dim]. looks: u [1, width]; similar, weights: [n], the images it is joined to and their message
        weights.
        """
        config = self._config
        inputs = [looks[0]]
        neighbours = weights @ self._states[0][similar, : config.neighbour_width]
        inputs.append(neighbours * (config.neighbour_weight / max(_length(neighbours), _NONE)))
        vote = weights @ self._states[1][similar, self._tags]
        vote /= max(_length(vote), _NONE)
        inputs.append((vote if self._vote_axes is None else vote @ self._vote_axes) * config.vote_weight)
        predicted = self._read(np.concatenate(inputs, dtype=np.float32))
        jaccard, tags = predicted[: config.jaccard_rank], predicted[config.jaccard_rank :]
        if not config.size_width:  # coordinates of single tags cannot be negative; compressed ones can
            tags = np.maximum(tags, 0)
        seen = looks[0, : config.visual_dim]
        return np.concatenate(
            [
                seen / max(_length(seen), _NONE),
                jaccard * (config.trust_jaccard / max(_length(jaccard), _FAINT)),
                tags * (config.trust_tags / max(_length(tags), _FAINT)),
            ],
            dtype=np.float32,
        )[np.newaxis]

    def _read(self, inputs: Float32Array) -> Float32Array:
        """f(z) [jaccard_rank + tag_width] of z [width + neighbour_width + vote_width]."""
        distances = self._lengths - 2 * (self._landmarks @ inputs)
        distances += inputs @ inputs
        np.sqrt(np.maximum(distances, 0, out=distances), out=distances)
        distances /= np.float32(self._config.length)
        kernel = (1 + distances) * np.exp(-distances) - self._middle
        result: Float32Array = self._bias + kernel @ self._values
        return result


def _length(vector: Float32Array) -> np.float32:
    flat = vector.ravel()
    length: np.float32 = np.sqrt(flat @ flat)
    return length
