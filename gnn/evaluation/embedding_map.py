"""Images and tags of one preset in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from gnn.evaluation.relevance import TagTable
from gnn.evaluation.systems import Engine
from gnn.query import Query, QueryTag
from graph_store.arrays import Float32Array

MOST_IMAGES = 600
MOST_TAGS = 60
COLOURS = 20


def embedding_map(
    engine: Engine, tags: TagTable, preset: str, *, seed: int = 0, fast: bool = False
) -> dict[str, Any]:
    """Conceptual vectors of up to 600 tagged images and the 60 commonest tags, as 2-D points.

    tags: of the indexed images, over the engine's vocabulary. By t-SNE, or by PCA when `fast` or when there
    are hardly any points. Empty when there is nothing to draw.
    """
    rng = np.random.default_rng(seed)
    tagged = np.flatnonzero(tags.sizes() > 0)
    images = np.sort(rng.permutation(tagged)[:MOST_IMAGES])
    counts = tags.counts()
    common = np.argsort(-counts, kind="stable")[: min(MOST_TAGS, int((counts > 0).sum()))]
    if len(images) + len(common) < 3:
        return {}
    vectors = engine.embed_many([Query(images=None, indexed_row=int(row)) for row in images])
    vectors += engine.embed_many([Query(images=None, tags=(QueryTag(engine.tag_names[t]),)) for t in common])
    points = project(np.stack([v.conceptual for v in vectors]), seed=seed, fast=fast)
    # The rarest of its common tags says most about an image; -1 is an image that has none of them.
    place = {int(tag): i for i, tag in enumerate(common[:COLOURS])}
    return {
        "title": f"Images and tags of preset {preset}",
        "images": points[: len(images)].tolist(),
        "colours": [
            max((place.get(int(t), -1) for t in tags.tags_of(int(row))), default=-1) for row in images
        ],
        "tags": points[len(images) :].tolist(),
        "names": [engine.tag_names[t] for t in common],
    }


def project(vectors: Float32Array, *, seed: int = 0, fast: bool = False) -> Float32Array:
    """[n, dim] -> [n, 2]."""
    # Not above: all that trains imports this module by way of its package, and scikit-learn takes seconds.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    dims = min(50, *vectors.shape)
    reduced = PCA(n_components=dims, random_state=seed, svd_solver="full").fit_transform(vectors)
    if reduced.shape[1] < 2:
        reduced = np.pad(reduced, ((0, 0), (0, 2 - reduced.shape[1])))
    if not fast and len(vectors) >= 20:
        perplexity = min(30.0, (len(vectors) - 1) / 3)
        reduced = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(reduced)
    return np.asarray(reduced[:, :2], dtype=np.float32)
