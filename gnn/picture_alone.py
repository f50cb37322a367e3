"""One new picture without tags or words, the commonest question: its vectors with as little around as can be.

What is attached is what :mod:`gnn.attach` attaches, by the same formulas. With one row the general way spends
most of its time between its seventy small operations on tensors, so here each kind of model has them written
out over plain arrays. Tests hold the two ways to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from gnn.kernel_picture import KernelPicture
from gnn.model.edge_weights import cap_row, weigh_row
from gnn.model.kernel_sage import KernelSage
from gnn.model.sage import HeteroSage
from gnn.query_types import AttachedEdges, QueryVectors
from gnn.readout import Readout
from gnn.sage_picture import SagePicture
from gnn.trained_model import TrainedModel
from graph_store.arrays import Float32Array, Int64Array

State = TypeVar("State")
Found = tuple[Int64Array, Float32Array]
"""Rows and cosines of the nearest images, both [1, k]; row -1 where there are fewer."""


class LonePicture(Protocol[State]):
    """A model's steps for one picture. What is between `layers` and `embedding` is the model's own."""

    def inputs(self, features: Float32Array) -> Float32Array:
        """h^0 [width] of features [feature_dim]."""

    def messages(self, similar: Int64Array, weights: Float32Array) -> list[Float32Array]:
        """What each layer hears of the `similar` images [n] with these message weights [n]."""

    def layers(self, inputs: Float32Array, messages: list[Float32Array]) -> State:
        """The last state."""

    def embedding(self, state: State) -> Float32Array:
        """[dim]."""


class PictureAlone(Generic[State]):
    """Attaches one picture. Safe to share between threads."""

    def __init__(self, model: LonePicture[State], trained: TrainedModel, readout: Readout) -> None:
        self.model = model
        self._space = trained.space
        # The kernel model has projected the features on the same axes: nothing is read twice.
        self._searches_inputs = isinstance(trained.model, KernelSage) and trained.space.roots
        self._weights = trained.preset.weights
        self._readout = readout
        self._no_tags = np.zeros((1, trained.model.dim), np.float32)
        self._untold = np.zeros(1, np.bool_)

    def vectors(self, features: Float32Array, nearest: Callable[[Float32Array], Found]) -> QueryVectors:
        """The vectors of a picture with these features [feature_dim]. nearest: finds images by a vector
        [1, width of the similarity space].
        """
        inputs = self.model.inputs(features)
        rows, weights = self.weighed(*nearest(self.searched(inputs, features)))
        state = self.model.layers(inputs, self.model.messages(rows, weights))
        return self.read(self.model.embedding(state), rows, weights)

    def searched(self, inputs: Float32Array, features: Float32Array) -> Float32Array:
        """[1, width of the similarity space]: the picture as neighbours are searched. inputs: its h^0."""
        if self._searches_inputs:
            return self._space.of_projected(inputs[np.newaxis])
        return self._space(features[np.newaxis])

    def weighed(self, rows: Int64Array, cosines: Float32Array) -> Found:
        """The images that were found and their message weights, both [n]."""
        found, how = rows[0] >= 0, self._weights
        near, likeness = cap_row(rows[0, found], cosines[0, found], how.max_degree, how.seed)
        return near, weigh_row(likeness, how.similar, how.similar_temperature)

    def read(self, embedding: Float32Array, rows: Int64Array, weights: Float32Array) -> QueryVectors:
        """What a picture with this embedding [dim] and these edges asks with."""
        node = embedding[np.newaxis]
        conceptual = self._readout.conceptual(node, lambda: self._no_tags, self._untold)[0]
        return QueryVectors(
            self._readout.visual(node)[0],
            conceptual,
            "image",
            lambda: AttachedEdges(tuple(zip(rows.tolist(), weights.tolist(), strict=True)), ()),
            self._readout.slider,
            near=int(rows[weights.argmax()]) if len(rows) else None,
        )


def picture_alone_of(
    trained: TrainedModel, image_states: Sequence[Float32Array], readout: Readout
) -> PictureAlone[Any] | None:
    """None for a model that has only the general way. image_states: h^0..h^(L-1) of the index."""
    model = trained.model
    if isinstance(model, KernelSage) and model.config.num_landmarks:
        return PictureAlone(KernelPicture(model, image_states), trained, readout)
    if isinstance(model, HeteroSage):
        return PictureAlone(SagePicture(model, image_states), trained, readout)
    return None
