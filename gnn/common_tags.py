"""Tags that most images carry, as all below one folder may: they tell hardly a picture from another."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from graph_store.arrays import BoolArray

MOST = 0.5
"""A tag on a larger share of the images tells nothing apart."""


def telling(carried: sparse.csr_matrix) -> BoolArray:
    """[t]: whether at most half of the images carry each tag. carried: [images, t], above 0 where they do."""
    counts = np.asarray((carried > 0).sum(axis=0)).ravel()
    result: BoolArray = counts <= MOST * carried.shape[0]
    return result
