"""Held-out images as query views, and what a candidate is worth on them.

A view is a held-out image attached to the graph of the other images by its `similar` edges, without its tags:
what a query is. Relevance is the Jaccard similarity of true tags, as in the evaluation protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gnn.agreement.believed import believed_tags
from gnn.attach import attach, inputs_of
from gnn.embedding import run_layers
from gnn.evaluation.metrics import (
    Float64Array,
    FloatArray,
    ideal_gains,
    ndcg_at_k,
    ranked_gains,
)
from gnn.graph_data import GraphData
from gnn.kernel_candidates import Candidate, Measured
from gnn.kernel_fit import Ground, Size, lay_ground, solved_model
from gnn.model.edge_weights import weigh
from gnn.model.kernel_sage import KernelSage
from gnn.presets import Preset
from gnn.tag_votes import tag_votes
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.neighbour_index import NeighbourIndex

FEWEST_TAGGED = 40
HELD_OUT_SHARE = 0.15
MOST_HELD_OUT = 1000
_MOST_CELLS, _FEWEST_HELD_OUT = 20_000_000, 100
"""Of a very large vocabulary fewer views do: what is settled on them takes some 33 bytes for each view and
tag, with these limits two thirds of a gigabyte up to 200,000 tags.
"""

JACCARD_SHARES = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0)


@dataclass(frozen=True, eq=False)
class QueryViews:
    """``ground``: of the other images; ``states``: h^2 of the views, untagged; ``truth``: [v, t] their true
    tags (0/1); ``gains``: [v, indexed] Jaccard with the tagged ones among the others, ``indexed`` their rows;
    ``carried``: [indexed, t] the tags of those (0/1); ``votes``: [v, t] of :mod:`gnn.tag_votes`.
    """

    ground: Ground
    features: Float32Array
    states: list[Tensor]
    truth: Float32Array
    indexed: Int64Array
    gains: Float32Array
    ideal: Float64Array
    indexed_sets: Tensor
    carried: sparse.csr_matrix
    votes: Float32Array


def hold_out_views(
    data: GraphData, rows: Int64Array, preset: Preset, rng: np.random.Generator
) -> QueryViews | None:
    """Hold out a part of the tagged images among `rows`. None when too few are tagged to spare any.

    Where the preset judges tags, those of the others are judged here, without what is held out; relevance is
    by the tags as they are given.
    """
    tagged = rows[data.tags_of_image.degrees()[rows] > 0]
    if len(tagged) < FEWEST_TAGGED:
        return None
    count = min(round(HELD_OUT_SHARE * len(tagged)), most_held_out(data.num_tags))
    held = np.sort(rng.choice(tagged, size=count, replace=False)).astype(np.int64)
    kept = np.setdiff1d(rows, held)
    features = np.asarray(data.features[kept])
    given = tags = _rows(data.tags_of_image, kept)
    if preset.agreement:
        tags = believed_tags(features, given, data.tag_text, preset)
    whole = Size(len(data.features), int(np.count_nonzero(data.tags_of_image.degrees())))
    ground = lay_ground(features, tags, data.tag_text, preset, seed=0, whole=whole)
    queries = np.asarray(data.features[held])
    indexed = np.flatnonzero(tags.degrees()).astype(np.int64)
    similar = _similar(ground, features, queries, preset)
    truth = _table(_rows(data.tags_of_image, held), data.num_tags)
    index = _table(_rows(given, indexed), data.num_tags)
    gains = _jaccard(truth, index)
    return QueryViews(
        ground=ground,
        features=queries,
        states=_attached(ground, features, queries, data.tag_text, similar),
        truth=truth.toarray().astype(np.float32),
        indexed=indexed,
        gains=gains,
        ideal=ideal_gains(gains, 10),
        indexed_sets=_sets(ground.skeleton, _rows(tags, indexed)),
        carried=index,
        votes=tag_votes(similar, tags, data.num_tags),
    )


def most_held_out(num_tags: int) -> int:
    """How many views a vocabulary of that size gets at most."""
    return min(MOST_HELD_OUT, max(_MOST_CELLS // max(num_tags, 1), _FEWEST_HELD_OUT))


def measure(views: QueryViews, candidate: Candidate) -> Measured:
    """nDCG@5 of the conceptual part alone, at the share of the Jaccard view that suits the candidate."""
    model = solved_model(views.ground, candidate)
    jaccard, tags = conceptual_scores(model, views, conceptual_view(model, views.states))
    scored = [(ndcg(views, share * jaccard + (1 - share) * tags), share) for share in jaccard_shares(model)]
    best, share = max(scored)
    return Measured(candidate, best, share)


def _similar(ground: Ground, features: Float32Array, queries: Float32Array, preset: Preset) -> Csr:
    """The message-weighted `similar` edges of the views."""
    how = preset.graph
    rows, cosines = NeighbourIndex.build(ground.space(features)).search(
        ground.space(queries), how.neighbours, how.threshold
    )
    found = rows >= 0
    owners = np.broadcast_to(np.arange(len(queries))[:, None], rows.shape)
    edges = Csr.from_edges(owners[found], rows[found], cosines[found], len(queries))
    return weigh(edges, preset.weights.similar, preset.weights.similar_temperature)


def _attached(
    ground: Ground, features: Float32Array, queries: Float32Array, tag_text: Float32Array, similar: Csr
) -> list[Tensor]:
    """States of the views, by the code that attaches queries."""
    skeleton = ground.skeleton
    numbers = np.arange(len(tag_text), dtype=np.int64)
    layers = run_layers(skeleton, ground.messages, features, tag_text, numbers)
    attached = attach(
        skeleton,
        inputs_of(skeleton, queries),
        similar,
        Csr.empty(len(queries)),
        layers.images,
        [state.numpy() for state in layers.tags],
    )
    return [state.clone() for state in attached]


def conceptual_view(model: KernelSage, states: list[Tensor]) -> Tensor:
    """[v, jaccard_rank + tag_width]: the conceptual blocks of images in these states."""
    with torch.inference_mode():
        return model.embed_images(states)[:, model.config.visual_dim :]


def conceptual_scores(
    model: KernelSage, views: QueryViews, queries: Tensor, index: Tensor | None = None
) -> tuple[Float32Array, Float32Array]:
    """Inner products of the two conceptual blocks, [v, indexed] each. `index`: those of the indexed."""
    rank = model.config.jaccard_rank
    blocks = model.embed_sets(views.indexed_sets) if index is None else index
    jaccard = (queries[:, :rank] @ blocks[:, :rank].T).numpy()
    tags = (queries[:, rank:] @ blocks[:, rank:].T).numpy()
    return jaccard, tags


def jaccard_shares(model: KernelSage) -> tuple[float, ...]:
    """The shares that the Jaccard view may have."""
    return JACCARD_SHARES if model.config.jaccard_rank else (0.0,)


def ndcg(views: QueryViews, scores: FloatArray, k: int = 5, rows: Int64Array | None = None) -> float:
    """Mean nDCG@k of the views, or of some of them; 0 where none of these is like any indexed image, as where
    nearly every tag has one carrier. scores: [v, indexed].
    """
    each = ndcg_at_k(ranked_gains(scores, views.gains, k), views.ideal, k)
    judged = each if rows is None else each[rows]
    return float(np.nanmean(judged)) if np.isfinite(judged).any() else 0.0


def _sets(skeleton: KernelSage, tags_of_image: Csr) -> Tensor:
    vectors = skeleton.get_buffer("tag_vectors").numpy()[:, : skeleton.config.tag_width]
    return torch.from_numpy((_table(tags_of_image, len(vectors)) @ vectors).astype(np.float32))


def _rows(csr: Csr, rows: Int64Array) -> Csr:
    """Those rows of a relation, renumbered."""
    parts = [csr.row(int(row)) for row in rows]
    lengths = [len(indices) for indices, _ in parts]
    return Csr.from_edges(
        np.repeat(np.arange(len(rows)), lengths),
        np.concatenate([indices for indices, _ in parts]) if parts else [],
        np.concatenate([weights for _, weights in parts]) if parts else [],
        len(rows),
    )


def _table(csr: Csr, num_tags: int) -> sparse.csr_matrix:
    ones = np.ones(csr.num_edges, dtype=np.float32)
    return sparse.csr_matrix((ones, csr.indices, csr.indptr), shape=(csr.num_rows, num_tags))


def _jaccard(left: sparse.csr_matrix, right: sparse.csr_matrix) -> Float32Array:
    both = (left @ right.T).toarray()
    either = np.asarray(left.sum(axis=1)) + np.asarray(right.sum(axis=1)).T - both
    result: Float32Array = (both / np.maximum(either, 1e-9)).astype(np.float32)
    return result
