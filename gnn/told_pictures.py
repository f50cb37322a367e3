"""A picture that tags are asked for beside: what else it shows is guessed.

Who asks for *dog* beside a picture of a beach names one thing of several. An image that carries *dog* alone
is then not the best answer, though it is the likest to the set {dog}. So the set that is compared is

    s = y + g · (1 - y) ∘ p

with y the told tags' indicator, p what the picture is likely to show, and g the share of that which is taken
in. Its conceptual blocks are those of any set (:mod:`gnn.model.tag_sets`), and what was told keeps a voice of
its own beside them: TOLD·y in the tag view, in units of the whole conceptual score.

What a question refuses is not guessed. Where it tells no tag, only refuses some, s = (1 - r) ∘ p with r the
refused tags' weights stands for the picture; its own prediction, out of which they cannot be taken, counts as
far as they are refused by halves.

An indexed image's own tags are a description and not a wish: nothing is guessed beside them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gnn.model.kernel_sage import KernelSage
from graph_store.arrays import Float32Array
from graph_store.csr import Csr

TOLD = 0.3
"""With less of it a larger share g brings the same relevance, and more results without the tag (decision
0009).
"""


def without(chances: Float32Array, refused: Csr) -> Float32Array:
    """The chances [n, t] without those of refused tags, n rows: none is left of one that weighs 1 or more."""
    left = chances.copy()
    left[refused.edge_rows(), refused.indices] *= np.maximum(1.0 - refused.weights, 0.0)
    return left


def refusing_blocks(
    model: KernelSage, predicted: Tensor, chances: Float32Array, directions: Tensor, refused: Float32Array
) -> Tensor:
    """The conceptual blocks [n, jaccard_rank + tag_width] of pictures that some tags are refused of.

    predicted: their blocks without that; chances: s, [n, t]; directions: as below; refused: [n], the weight
    of the tag that is refused most. The set is trusted as predictions are.
    """
    config = model.config
    blocks = model.embed_sets(torch.from_numpy(chances) @ directions)
    blocks[:, : config.jaccard_rank] *= config.trust_jaccard
    blocks[:, config.jaccard_rank :] *= config.trust_tags
    taken = torch.from_numpy(np.minimum(refused, 1.0).astype(np.float32))[:, None]
    return predicted + taken * (blocks - predicted)


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
