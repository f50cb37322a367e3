"""GraphSAGE for one new picture: the formulas of :mod:`gnn.model.sage` over plain arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gnn.model.sage import HeteroSage, NodeLayer
from graph_store.arrays import Float32Array, Int64Array


class _Layer(NamedTuple):
    own: Float32Array
    similar: Float32Array
    bias: Float32Array
    joined: bool
    last: bool

    @classmethod
    def of(cls, layer: NodeLayer) -> _Layer:
        parameters = (layer.own.weight, layer.first.weight, layer.bias)
        own, similar, bias = (each.detach().numpy() for each in parameters)
        return cls(own, similar, bias, layer.concat, layer.last)

    def __call__(self, own: Float32Array, similar: Float32Array) -> Float32Array:
        """[width] of the layer below, both → [width]. Without tags the third matrix adds nothing."""
        mine, heard = self.own @ own, self.similar @ similar
        result = np.concatenate([mine, heard]) if self.joined else mine + heard
        result += self.bias
        return result if self.last else np.maximum(result, 0, out=result)


class SagePicture:
    """The steps of :class:`gnn.picture_alone.LonePicture`."""

    def __init__(self, model: HeteroSage, image_states: Sequence[Float32Array]) -> None:
        """image_states: h^0..h^(L-1) of the index. The model's arrays are shared, not copied."""
        self._states = image_states
        self._layers = [_Layer.of(layer) for layer in model.image_layers if isinstance(layer, NodeLayer)]

    def inputs(self, features: Float32Array) -> Float32Array:
        """The features [feature_dim] as they are."""
        return features

    def messages(self, similar: Int64Array, weights: Float32Array) -> list[Float32Array]:
        """The mean of each layer's states."""
        return [weights @ states[similar] for states in self._states]

    def layers(self, inputs: Float32Array, messages: list[Float32Array]) -> Float32Array:
        """h^L."""
        state = inputs
        for layer, similar in zip(self._layers, messages, strict=True):
            state = layer(state, similar)
        return state

    def embedding(self, state: Float32Array) -> Float32Array:
        """h^L of length one."""
        result: Float32Array = state / max(math.sqrt(state @ state), 1e-12)
        return result
