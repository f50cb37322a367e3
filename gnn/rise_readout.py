"""The two vectors of a query to preset `graph-rise`: each touches its own block of the index's vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from gnn.asked_tags import AskedTags
from gnn.model.rise_sage import RiseSage
from gnn.query_types import Slider
from gnn.trained_model import SliderBalance
from graph_store.arrays import BoolArray, Float32Array
from graph_store.csr import Csr


class RiseReadout:
    """A :class:`gnn.readout.Readout`. The node's own layers have taken its tags in."""

    refusal = 1.0

    def __init__(self, model: RiseSage, balance: SliderBalance, tag_embeddings: Float32Array) -> None:
        self._model = model
        self._width = model.config.width
        self._tags = np.asarray(tag_embeddings, dtype=np.float32)
        self.slider = Slider(balance.visual)
        self.meaning = (np.arange(model.dim) >= self._width).astype(np.float32)

    def embeddings(self, states: list[Tensor], asked: AskedTags) -> Float32Array:
        """Those of any node."""
        del asked
        result: Float32Array = self._model.embed_images(states).numpy()
        return result

    def visual(self, embeddings: Float32Array) -> Float32Array:
        """The first block."""
        vectors = embeddings.copy()
        vectors[:, self._width :] = 0.0
        return vectors

    def conceptual(
        self, embeddings: Float32Array, mean_tags: Callable[[], Float32Array], told: BoolArray
    ) -> Float32Array:
        """The second block."""
        del mean_tags, told
        vectors = embeddings.copy()
        vectors[:, : self._width] = 0.0
        return vectors

    def tag_vectors(self) -> Float32Array:
        """Tags are classes: what points their way is about them."""
        return self._tags

    def tag_scores(self, states: list[Tensor], similar: Csr, *, indexed: bool = False) -> Float32Array:
        """Cosine of each image with each tag."""
        del similar, indexed  # the same weights speak for all images
        scores: Float32Array = self._model.meaning(states).numpy() @ self._tags[:, self._width :].T
        return scores
