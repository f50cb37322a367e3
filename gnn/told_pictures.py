"""A picture that tags are asked for beside: what else it shows is guessed.

Who asks for *dog* beside a picture of a beach names one thing of several. An image that carries *dog* alone
is then not the best answer, though it is the likest to the set {dog}. So the set that is compared is

    s = y + g · (1 - y) ∘ p

with y the told tags' indicator, p what the picture is likely to show, and g the share of that which is taken
in. Its conceptual blocks are those of any set (:mod:`gnn.model.tag_sets`), and what was told keeps a voice of
its own beside them: TOLD·y in the tag view, in units of the whole conceptual score.

What a question refuses is not guessed. An indexed image's own tags are a description and not a wish: nothing
is guessed beside them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnn.model.kernel_sage import KernelSage
from graph_store.arrays import BoolArray, Float32Array
from graph_store.csr import Csr

TOLD = 0.3
"""With less of it a larger share g brings the same relevance, and more results without the tag (decision
0009).
"""


def told_indicator(told: Csr, num_tags: int) -> Float32Array:
    """y [n, num_tags] in [0, 1] from tag edges whose weights add up to one a row: 1 for each of several equal
    tags, less for one that is asked for less than the others.
    """
    table = np.zeros((told.num_rows, num_tags), dtype=np.float32)
    rows = told.edge_rows()
    squares = np.bincount(rows, told.weights.astype(np.float64) ** 2, minlength=told.num_rows)
    table[rows, told.indices] = np.minimum(told.weights / squares[rows], 1.0)
    return table


def without(chances: Float32Array, refused: Csr) -> Float32Array:
    """The chances [n, t] without those of refused tags, n rows: none is left of one that weighs 1 or more."""
    left = chances.copy()
    left[refused.edge_rows(), refused.indices] *= np.maximum(1.0 - refused.weights, 0.0)
    return left


def guessing_blocks(
    model: KernelSage,
    own: Tensor,
    told: Float32Array,
    chances: Float32Array,
    directions: Tensor,
    guess: float,
    jaccard: float,
) -> Tensor:
    """The conceptual blocks [n, jaccard_rank + tag_width] of pictures that tags are asked for beside.

    own: y in the coordinates of the tags' vectors, [n, tag_width]; told: y, [n, t]; chances: p, [n, t];
    directions: the tags' vectors, [t, tag_width]; guess: g; jaccard: the Jaccard view's share of the score (0
    where there is none).
    """
    others = torch.from_numpy((1.0 - told) * chances)
    blocks = model.embed_sets(own + guess * (others @ directions))
    if jaccard < 1.0:
        blocks[:, model.config.jaccard_rank :] += TOLD / (1.0 - jaccard) * own
    return blocks


def guessed_for(asked: BoolArray, similar: Csr) -> BoolArray:
    """[n]: the nodes whose other tags are guessed: those with tags asked for, and with similar images to tell
    what they show.
    """
    result: BoolArray = asked & (similar.degrees() > 0)
    return result
