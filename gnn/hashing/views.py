"""Indexed images as queries that their model has not seen: what a head is trained on.

A model embeds its own training images as it was taught to, and new ones less surely. A head that only saw
the first would be lost on queries. So the catalogue is cut into folds; each is asked about, without its tags,
in an index of a model that was trained on the other folds. Each such model has a space of its own, which
lies like that of the final model but for a rotation; the images that both have indexed tell which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gnn.embedding import NewArray
from gnn.graph_data import GraphData
from gnn.hashing.room import UNSEARCHED, arrays_in, how_in, is_large
from gnn.query import Query, QueryEngine
from gnn.reindex import build_index
from gnn.scratch_room import scratch_room
from gnn.trained_model import TrainedModel
from graph_store.arrays import Float32Array, Int64Array
from graph_store.mapped_pages import copy_rows, streamed
from graph_store.progress import Progress

Learn = Callable[[GraphData], TrainedModel]
"""Trains the same kind of model on a part of the catalogue."""

FOLDS = 4
MOST_VIEWS = 6000
MIDDLE = 0.5
_BATCH = 512
_TURNED = 20_000
"""Images whose vectors are read together, as float64, to find the rotation."""


@dataclass(frozen=True, eq=False)
class QueryViews:
    """rows: [v] which indexed images ask; blended: [v, dim] their vectors in the middle of the slider, in the
    final model's space.
    """

    rows: Int64Array
    blended: Float32Array


def cross_fitted(
    data: GraphData,
    final: TrainedModel,
    embeddings: Float32Array,
    learn: Learn,
    folder: Path,
    *,
    seed: int,
    progress: Progress,
) -> QueryViews:
    """Views of the tagged images, or of 6,000 of them.

    embeddings: [num_images, dim] index vectors of the final model; folder: where a large fold has its arrays
    for as long as it is asked. A catalogue of more than 12,000 images is cut once and not four times. Empty
    when fewer than two images are tagged.
    """
    rng = np.random.default_rng(seed)
    tagged = np.flatnonzero(data.tags_of_image.degrees()).astype(np.int64)
    asked = rng.permutation(tagged)[:MOST_VIEWS]
    if len(asked) < 2:
        return QueryViews(np.zeros(0, np.int64), np.zeros((0, embeddings.shape[1]), np.float32))
    parts = [asked] if len(tagged) > 2 * MOST_VIEWS else np.array_split(asked, min(FOLDS, len(asked)))
    blended = []
    with progress.phase("query views", len(parts)) as advance:
        for held in parts:
            blended.append(_asked_of_others(data, final, embeddings, learn, held, folder))
            advance(1)
    order = np.argsort(np.concatenate(parts), kind="stable")
    return QueryViews(np.concatenate(parts)[order], np.concatenate(blended)[order])


def _asked_of_others(
    data: GraphData,
    final: TrainedModel,
    embeddings: Float32Array,
    learn: Learn,
    held: Int64Array,
    folder: Path,
) -> Float32Array:
    """[len(held), dim] blended vectors of the held images, asked of a model of all the others."""
    kept = np.setdiff1d(np.arange(len(data.features), dtype=np.int64), held)
    with scratch_room(folder, needed=is_large(len(kept))) as room:
        others = part_of(data, kept, arrays_in(room))
        # Balanced as the final model is, so that the slider's middle means the same.
        model = replace(learn(others), balance=final.balance)
        index = build_index(model, others, how=how_in(room), choice=UNSEARCHED)
        turn = rotation(np.asarray(index.states.embeddings), embeddings, kept)
        engine = QueryEngine(index)
        blended = []
        for start in range(0, len(held), _BATCH):
            pictures = np.asarray(data.features[held[start : start + _BATCH]])
            vectors = engine.embed_many([Query(images=picture[None, :]) for picture in pictures])
            blended.append(np.stack([each.blend(MIDDLE) for each in vectors]) @ turn)
    return np.concatenate(blended).astype(np.float32)


def rotation(left: Float32Array, right: Float32Array, rows: Int64Array) -> Float32Array:
    """[d, e]: the partial isometry W that minimises ‖left W - right[rows]‖ (Procrustes; Schönemann 1966).

    leftᵀ right is summed up block by block. left: [n, d]; right: [m, e]; rows: [n], rising.
    """
    product = np.zeros((left.shape[1], right.shape[1]))
    for start, stop in streamed(len(rows), _TURNED, left, right[: len(rows)]):
        product += left[start:stop].T.astype(np.float64) @ right[rows[start:stop]]
    u, _, v = np.linalg.svd(product, full_matrices=False)
    result: Float32Array = (u @ v).astype(np.float32)
    return result


def part_of(data: GraphData, rows: Int64Array, new_array: NewArray) -> GraphData:
    """The catalogue with these images only, and all of its tags. new_array: makes room for the features."""
    features = new_array("features", (len(rows), data.features.shape[1]))
    copy_rows(data.features, rows, features)
    return replace(
        data,
        images=data.images.take(rows),
        features=features,
        tags_of_image=data.tags_of_image.take(rows),
    )
