"""Which way of the index's space leads to the images that carry a tag.

A word that nobody tagged with stands for one of several tags, with chances p_t that add up to one. An image
with the tags S is then what was meant with probability Σ_t p_t 1{t ∈ S}, whatever else it shows. The index
holds φ(S), in which a tag is the quieter the more others stand beside it, so the sum is approached in it:

    w_t = argmin_w Σ_S (w·φ(S) - 1{t ∈ S})² + λ‖w‖²,      Σ_t p_t w_t · φ(S) ≈ Σ_t p_t 1{t ∈ S}

over the tag sets that are frequent in the catalogue and, at a tenth, over each tag alone, so that no tag is
without a direction (ridge regression; λ in parts of the mean eigenvalue). Asking with the word's tags as a
*set* instead looks for images that carry all of them.

A compressed vocabulary keeps no tag sets, but a direction is needed there even for a tag by its own name: by
e_t as it is, the images of a rare tag are lost in what the many tags of all others have in common with it by
chance. Ridge regression again, w_t = (mean φφᵀ + λ)^-1 c_t, with the tag's own voice e_t in what its images
have in common, c_t, and not that of the tags beside it, of which those of a rare tag say little of other
images. So all directions are one linear map of e_t (docs/decisions/0018).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gnn.model.kernel_sage import KernelSage
from gnn.model.kernels import unit

_RIDGE = 1e-3
_ALONE = 0.1
_ASKING_RIDGE = 0.03
_SETS_AT_ONCE = 8192


def carrier_directions(model: KernelSage, jaccard: float) -> Tensor | None:
    """w [tag_width, jaccard_rank + tag_width] of the module's docstring, float32, to be weighed block by
    block as every question is: `jaccard` for the Jaccard view, the rest for the tag view. None for a
    compressed vocabulary, which keeps no tag sets.
    """
    frequent = model.get_buffer("landmark_sets")
    if not frequent.numel():
        return None
    sets = torch.cat([frequent, torch.eye(frequent.shape[1])])
    views = model.embed_sets(sets).double()
    views[:, : model.config.jaccard_rank] *= jaccard
    views[:, model.config.jaccard_rank :] *= 1.0 - jaccard
    weight = torch.cat([torch.ones(len(frequent)), torch.full((frequent.shape[1],), _ALONE)]).double()
    weighed = views.T * weight
    gram = weighed @ views
    ridge = _RIDGE * gram.trace() / len(gram) * torch.eye(len(gram), dtype=gram.dtype)
    directions: Tensor = torch.linalg.solve(gram + ridge, weighed @ sets.double()).T
    return directions.float().contiguous()


def asking_map(sets: Tensor) -> Tensor:
    """The inverse of the module's docstring, [tag_width, tag_width], from images' sets [n, tag_width], whose
    directions φ are; λ in parts of the mean eigenvalue, so that what no image has is not blown up.
    """
    gram = torch.zeros(sets.shape[1], sets.shape[1], dtype=torch.float64)
    for part in torch.split(sets, _SETS_AT_ONCE):
        views = unit(part)
        gram += views.T @ views
    level = gram.trace() / len(gram)
    if not float(level):
        return torch.eye(len(gram))
    identity = torch.eye(len(gram), dtype=gram.dtype)
    inverse: Tensor = torch.linalg.inv(gram / level + _ASKING_RIDGE * identity)
    return inverse.float()
