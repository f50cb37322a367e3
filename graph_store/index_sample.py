"""Sample questions with their true best: by them it is measured, when an index is built, what it finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.exact import best_of_each


@dataclass(frozen=True, eq=False)
class Sample:
    """questions: [n, dim]; scores, rows: [n, k], the k best vectors of each, as matrix products see them."""

    questions: Float32Array
    scores: Float32Array
    rows: Int64Array

    @classmethod
    def of(cls, questions: Float32Array, vectors: Float32Array, k: int) -> Sample:
        """Ask all of `vectors` [m, dim], which may be mapped and are read once."""
        questions = np.ascontiguousarray(questions, dtype=np.float32)
        return cls(questions, *best_of_each(questions, vectors, k))

    def part(self, start: int, stop: int) -> Sample:
        """The questions from `start` to `stop`."""
        return Sample(self.questions[start:stop], self.scores[start:stop], self.rows[start:stop])


def stored_of(vectors: Float32Array, num: int) -> Float32Array:
    """[at most num, dim]: vectors from everywhere."""
    if not len(vectors):
        return np.zeros((0, vectors.shape[1]), np.float32)
    places = np.linspace(0, len(vectors) - 1, min(num, len(vectors))).astype(np.int64)
    return np.asarray(vectors[places], dtype=np.float32)


def between(vectors: Float32Array) -> Float32Array:
    """[n, dim]: what lies in the middle between two of these [n, dim], where no image is."""
    middle: Float32Array = (vectors + vectors[::-1]) * np.float32(0.5)
    return middle
