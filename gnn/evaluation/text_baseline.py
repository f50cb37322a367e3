"""Free text without a graph: the tags nearest to the text, then images by those tags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.baselines import Neighbours, TagSpace
from gnn.evaluation.metrics import top_k
from gnn.evaluation.relevance import TagTable, chunks
from graph_store.arrays import Float32Array, Int64Array

NAME = "text kNN over tags"
SETTINGS = tuple((k, sharpness) for k in (1, 3, 5, 10, 20) for sharpness in (5.0, 10.0, 20.0, 40.0))


@dataclass(frozen=True, eq=False)
class TextOverTags:
    """A text is the softmax mixture of its k nearest tag names; images are ranked by tag-space cosine.

    tag_vectors: [num_tags, text_dim] unit rows; space: of the indexed images' tags; carried: the tags that
    at least one indexed image carries.
    """

    tag_vectors: Float32Array
    space: TagSpace
    carried: Int64Array
    k: int = 5
    sharpness: float = 20.0

    @classmethod
    def build(cls, tag_vectors: Float32Array, tags: TagTable, k: int, sharpness: float) -> TextOverTags:
        """tags: of the indexed images."""
        carried = np.flatnonzero(tags.counts() > 0).astype(np.int64)
        return cls(tag_vectors, TagSpace.build(tags, 0.0), carried, k, sharpness)

    def search(self, texts: Float32Array, k: int) -> Int64Array:
        """texts: [n, text_dim] unit rows -> rows of the index [n, k]."""
        names = self.tag_vectors[self.carried]
        each_alone = TagTable.from_pairs(
            np.arange(len(names), dtype=np.int64), self.carried, len(names), len(self.tag_vectors)
        )
        mixture = Neighbours.find(texts, names, self.k).vote(each_alone, self.k, self.sharpness)
        num_indexed = self.space.index.shape[0]
        rows = np.full((len(texts), k), -1, dtype=np.int64)
        for part in chunks(len(texts), num_indexed):
            found = top_k(self.space.cosine(mixture[part]), k)
            rows[part, : found.shape[1]] = found
        return rows


def tune_text_baseline(
    tag_vectors: Float32Array,
    tags: TagTable,
    texts: Float32Array,
    quality: Callable[[Int64Array], float],
) -> TextOverTags:
    """The best of SETTINGS. quality([n, 10] rows found for `texts`) -> higher is better."""
    tried = [TextOverTags.build(tag_vectors, tags, k, s) for k, s in SETTINGS]
    return max(tried, key=lambda baseline: quality(baseline.search(texts, 10)))
