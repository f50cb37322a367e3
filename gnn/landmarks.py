"""Which inputs the kernel readout is spanned by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from graph_store.faiss_api import faiss

EXACT_LANDMARKS = 6000
MOST_LANDMARKS = 3072
_VISITS_A_LANDMARK = 16
_ROUNDS = 6
_SEEDS = 2**31 - 2
"""So many seeds faiss can tell apart: it has them in a C int, and takes 0 for none."""


def landmark_count(inputs: int) -> int:
    """How many landmarks so many inputs get: each its own while they are few, which ranks a little better
    than any choice among them (docs/decisions/0001). A query reads every landmark, so their number is its
    latency.
    """
    return inputs if inputs <= EXACT_LANDMARKS else MOST_LANDMARKS


def choose_landmarks(inputs: Tensor, seed: int, whole: int = 0) -> Tensor:
    """[m, d] of inputs [n, d]: all of them, or the centres of m clusters (k-means). whole: how many inputs
    there will be, where these are a part of them.

    Centres of clusters span the inputs' functions better than as many random inputs (Zhang, Tsang & Kwok,
    *Improved Nyström low-rank approximation and error analysis*, 2008). Of many inputs they are fitted on a
    random part. The same seed gives the same landmarks.
    """
    count = min(landmark_count(max(len(inputs), whole)), len(inputs))
    if count == len(inputs):
        return inputs
    clusters = faiss.Kmeans(
        inputs.shape[1],
        count,
        niter=_ROUNDS,
        seed=1 + seed % _SEEDS,
        min_points_per_centroid=1,
        max_points_per_centroid=_VISITS_A_LANDMARK,
    )
    clusters.train(np.ascontiguousarray(inputs.numpy(), dtype=np.float32))
    return torch.from_numpy(np.array(clusters.centroids, dtype=np.float32).reshape(count, -1))
