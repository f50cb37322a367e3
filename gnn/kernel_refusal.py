"""How much a refused tag takes away beside a picture, found on held-out pictures.

*Like this picture, but without u*: too little leaves u's images among the results, and too much costs what
else the picture shows. u is no longer guessed of the picture, which is often enough; a part of u's vector
taken away besides does the rest. How long a prediction is beside a tag differs between catalogues, so no
fixed part suits all (decision 0007).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnn.common_tags import telling
from gnn.evaluation.metrics import Float64Array, top_k
from gnn.kernel_validation import QueryViews, conceptual_scores, conceptual_view
from gnn.model.kernel_sage import KernelSage
from gnn.told_pictures import refusing_blocks
from gnn.trained_model import SliderBalance
from graph_store.arrays import BoolArray, Float32Array, Int64Array

REFUSALS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0)
"""In parts of the tag's vector."""

USUAL = SliderBalance.refusal
MOST_LEFT = 0.45
"""Of a refused tag's images at most so many may be left among the first results; half is the promise."""

_DEPTH = 20
_FEWEST_CARRIERS = 10
_FEWEST_PICTURES = 40


def refusal_of(
    model: KernelSage,
    views: QueryViews,
    chances: Float32Array,
    visual: Float32Array,
    index: Tensor,
    share: float,
) -> tuple[float, float]:
    """The least of REFUSALS that leaves at most MOST_LEFT, and what it leaves; the usual one where too few
    held-out pictures have a second tag.

    chances: p, [v, t]; visual: [v, indexed], what looks weigh in the middle of the slider; index: conceptual
    blocks of the indexed; share: of the Jaccard view.
    """
    rows, tags = _asked(views)
    if len(rows) < _FEWEST_PICTURES:
        return USUAL, 0.0
    vectors = model.get_buffer("tag_vectors")[:, : model.config.tag_width]
    left_over = chances[rows]
    left_over[np.arange(len(rows)), tags] = 0.0
    predicted = conceptual_view(model, views.states)[torch.from_numpy(rows)]
    wanted = refusing_blocks(model, predicted, left_over, vectors, np.ones(len(rows), dtype=np.float32))

    def scores(blocks: Tensor) -> Float32Array:
        jaccard, by_tag = conceptual_scores(model, views, blocks, index)
        return share * jaccard + (1 - share) * by_tag

    named = np.unique(tags)
    away = scores(model.embed_sets(vectors[torch.from_numpy(named)]))[np.searchsorted(named, tags)]
    carries = np.asarray(views.carried[:, tags].toarray().T > 0)
    shown = _share_first(scores(predicted) + visual[rows], carries).mean()
    if not shown:
        return USUAL, 0.0
    without = scores(wanted) + visual[rows]
    left = 0.0
    for refusal in REFUSALS:
        left = float(_share_first(without - np.float32(refusal) * away, carries).mean() / shown)
        if left <= MOST_LEFT:
            return refusal, left
    return REFUSALS[-1], left


def _asked(views: QueryViews) -> tuple[Int64Array, Int64Array]:
    """Views with several tags, and of each one tag that is not too rare, at random but always the same. Of a
    tag that most images carry, hardly fewer are left whatever is taken away: such ones do not count.
    """
    apart = telling(views.carried)
    usable_tags = apart & (np.asarray((views.carried > 0).sum(axis=0)).ravel() >= _FEWEST_CARRIERS)
    usable = (views.truth > 0) & usable_tags
    rows = np.flatnonzero((views.truth @ apart.astype(np.float32) >= 2) & usable.any(axis=1))
    drawn = np.random.default_rng(1).random(views.truth.shape) * usable
    return rows.astype(np.int64), drawn[rows].argmax(axis=1).astype(np.int64)


def _share_first(scores: Float32Array, carries: BoolArray) -> Float64Array:
    """[n]: which share of the first results carries what is refused. scores, carries: [n, indexed]."""
    share: Float64Array = np.take_along_axis(carries, top_k(scores, _DEPTH), axis=1).mean(axis=1)
    return share
