"""What goes into the query engine and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import BadInput, EmptyQuery

Attach = Literal["auto", "image", "tags", "mixed"]


@dataclass(frozen=True)
class QueryTag:
    """A tag or a word, with its weight; a negative one pushes away."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Query:
    """What is asked, with pictures already encoded.

    images: [m, feature_dim] unit norm, with a weight each (1 where not given; a negative one pushes away);
    image_rows: for each of them its row where it is an indexed image, whose stored edges are then used;
    indexed_row: the query is that one indexed image; then `images` is not needed.
    """

    images: Float32Array | None = None
    image_weights: tuple[float, ...] = ()
    image_rows: tuple[int | None, ...] = ()
    tags: tuple[QueryTag, ...] = ()
    text: str | None = None
    attach: Attach = "auto"
    indexed_row: int | None = None


@dataclass(frozen=True)
class AttachedEdges:
    """images: (row, message weight); tags: (tag number, asked weight, the words that led to it)."""

    images: tuple[tuple[int, float], ...]
    tags: tuple[tuple[int, float, str], ...]


@dataclass(frozen=True)
class Slider:
    """b of :mod:`gnn.query`."""

    balance: float = 1.0

    def weights(self, visual_weight: float) -> tuple[float, float]:
        """(w_v, w_c) of :mod:`gnn.query`. Raises BadInput outside [0, 1]."""
        if not 0.0 <= visual_weight <= 1.0:
            raise BadInput(f"visual_weight must lie in [0, 1], not {visual_weight}")
        conceptual = 1.0 - visual_weight
        visual = self.balance * visual_weight
        return visual / (visual + conceptual), conceptual / (visual + conceptual)


@dataclass(frozen=True, eq=False)
class QueryVectors:
    """visual, conceptual: [dim] in the index's space. `attach`: which edges the query was given. The edges
    are listed only when they are asked for. near: a row of the index that the best are not far from, where
    one is known: the indexed image that asks, or the one that a new picture looks most like.
    """

    visual: Float32Array
    conceptual: Float32Array
    attach: str
    list_edges: Callable[[], AttachedEdges]
    slider: Slider = Slider()
    near: int | None = None

    @cached_property
    def edges(self) -> AttachedEdges:
        """The edges that the query was given."""
        return self.list_edges()

    def parts(self, visual_weight: float) -> Float32Array:
        """[2, dim]: the visual and the conceptual vector by their weights; their sum is what is searched for.
        Raises EmptyQuery when nothing is left of it.
        """
        visual, conceptual = self.slider.weights(visual_weight)
        parts = np.empty((2, len(self.visual)), dtype=np.float32)
        np.multiply(self.visual, np.float32(visual), out=parts[0])
        np.multiply(self.conceptual, np.float32(conceptual), out=parts[1])
        blended = parts[0] + parts[1]
        if float(blended @ blended) < 1e-12:
            raise EmptyQuery(
                f"Nothing is left of the query at visual_weight {visual_weight:g}",
                hint="Move the slider, or ask for something in it.",
            )
        return parts

    def blend(self, visual_weight: float) -> Float32Array:
        """The vector that is searched for, [dim]. Raises EmptyQuery when nothing is left of it."""
        blended: Float32Array = self.parts(visual_weight).sum(axis=0)
        return blended


@dataclass(frozen=True, eq=False)
class Hits:
    """Best first. score == visual + conceptual. All [k]."""

    rows: Int64Array
    score: Float32Array
    visual: Float32Array
    conceptual: Float32Array

    @classmethod
    def best_first(
        cls,
        rows: Int64Array,
        visual: Float32Array,
        conceptual: Float32Array,
        k: int,
        exclude: Sequence[int] = (),
    ) -> Hits:
        """The k best of these, without the rows `exclude`. Of equal scores the lower row comes first."""
        score = visual + conceptual
        order = np.lexsort((rows, -score))
        for row in exclude:
            order = order[rows[order] != row]
        order = order[:k]
        return cls(rows[order], score[order], visual[order], conceptual[order])
