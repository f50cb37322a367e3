"""What the similar images of a picture are tagged with, tag by tag.

vote_it = Σ_j a_ij 1{j carries t}, with the message weights a of the picture's `similar` edges. A model brings
the vote along in its states, but above 512 tags compressed, where rare tags are hardly heard; this is the
whole of it.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from graph_store.arrays import Float32Array
from graph_store.csr import Csr


def tag_votes(similar: Csr, tags_of_image: Csr, num_tags: int) -> Float32Array:
    """[n, num_tags], in [0, 1], of n nodes. similar: n rows of message weights; tags_of_image: of the graph,
    which may be a memory map: only the rows that are named are read.
    """
    senders, places = np.unique(similar.indices, return_inverse=True)
    told = tags_of_image.take(senders)
    mixing = sparse.csr_matrix(
        (similar.weights, places.reshape(-1), similar.indptr), shape=(similar.num_rows, len(senders))
    )
    ones = np.ones(told.num_edges, dtype=np.float32)
    carried = sparse.csr_matrix((ones, told.indices, told.indptr), shape=(len(senders), num_tags))
    votes: Float32Array = (mixing @ carried).toarray().astype(np.float32, copy=False)
    return votes
