"""What speaks for a tag of an image besides its own edge: its features, and neighbours that agree with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from graph_store.arrays import Float32Array, Int64Array

FOLDS = 5
_CHUNK = 32_768
_RIDGE = 10.0


@dataclass(frozen=True, eq=False)
class TagEvidence:
    """``fold``: [images]; ``weights``: [folds, width + 1, tags], each solved without its fold's images;
    ``votes``: [images, tags] sparse, rows sum to the mean number of tags of those that vote.
    """

    inputs: Float32Array
    fold: Int64Array
    weights: Float32Array
    votes: sparse.csr_matrix

    @classmethod
    def gather(
        cls,
        vectors: Float32Array,
        truth: sparse.csr_matrix,
        neighbours: sparse.csr_matrix,
        rng: np.random.Generator,
    ) -> TagEvidence:
        """vectors: [images, width]; truth: [images, tags] weights; neighbours: [images, images] weights of
        those that speak for each, itself not among them.
        """
        num = len(vectors)
        inputs = np.concatenate([vectors, np.ones((num, 1), np.float32)], axis=1)
        fold = rng.integers(0, FOLDS, size=num)
        tagged = np.diff(truth.indptr) > 0
        solved = []
        for held in range(FOLDS):
            rows = np.flatnonzero(tagged & (fold != held))
            x = inputs[rows].astype(np.float64)
            gram = x.T @ x + _RIDGE * np.eye(x.shape[1]) * max(len(rows), 1) / 5000
            solved.append(np.linalg.solve(gram, (truth[rows].T @ x).T))
        # Only those who carry tags can vote; an image without such neighbours hears nothing.
        heard = neighbours @ sparse.diags(tagged.astype(np.float32))
        total = np.asarray(heard.sum(axis=1)).ravel()
        votes = sparse.diags((1.0 / np.maximum(total, 1e-9)).astype(np.float32)) @ heard @ truth
        return cls(inputs, fold, np.asarray(solved, dtype=np.float32), votes.tocsr())

    def probability(self, images: Int64Array, tags: Int64Array) -> Float32Array:
        """[n]: about how probably each image shows each tag, from the mean of the two; not calibrated."""
        result = np.empty(len(images), dtype=np.float32)
        for start in range(0, len(images), _CHUNK):
            rows, columns = images[start : start + _CHUNK], tags[start : start + _CHUNK]
            solved = self.weights[self.fold[rows], :, columns]
            regressed = np.einsum("nd,nd->n", self.inputs[rows], solved)
            voted = np.asarray(self.votes[rows, columns]).ravel()
            result[start : start + _CHUNK] = (regressed + voted) / 2
        return np.clip(result, 0.0, 1.0)
