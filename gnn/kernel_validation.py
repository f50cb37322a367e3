"""Held-out images as query views, and what is decided on them.

A view is a held-out image attached to the graph of the other images by its `similar` edges, without its tags:
what a query is. Relevance is the Jaccard similarity of true tags, as in the evaluation protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from gnn.attach import attach
from gnn.calibration import Calibration, fit_calibration
from gnn.embedding import run_layers
from gnn.evaluation.metrics import (
    Float64Array,
    FloatArray,
    ideal_gains,
    ndcg_at_k,
    ranked_gains,
    recall_at_k,
    top_k,
)
from gnn.graph_data import GraphData
from gnn.kernel_candidates import Candidate, Measured
from gnn.kernel_fit import Ground, lay_ground, solved_model
from gnn.model.edge_weights import weigh
from gnn.model.kernel_sage import KernelSage, unit
from gnn.presets import Preset
from gnn.trained_model import SliderBalance
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.similar import NeighbourIndex

FEWEST_TAGGED = 40
HELD_OUT_SHARE = 0.15
MOST_HELD_OUT = 1000

JACCARD_SHARES = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0)
LOOK = 0.02
VISUAL_BALANCES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
MISSING_SHARES = (0.05, 0.1, 0.15, 0.2, 0.3)
NAMING_VOTES = (0.0, 0.1, 0.3, 1.0)
_NAMED = 5
_COST_OF_BALANCE = 0.002
_COST_OF_MISSING = 0.01


@dataclass(frozen=True, eq=False)
class QueryViews:
    """``ground``: of the other images; ``states``: h^2 of the views, untagged; ``sets``: [v, t] their true
    tags (0/1); ``gains``: [v, indexed] Jaccard with the tagged ones among the others, ``indexed`` their rows.
    """

    ground: Ground
    features: Float32Array
    states: list[Tensor]
    truth: Float32Array
    indexed: Int64Array
    gains: Float32Array
    ideal: Float64Array
    indexed_sets: Tensor


@dataclass(frozen=True)
class Settled:
    """What else the views decide, once the candidate is chosen."""

    balance: SliderBalance
    missing: float
    trust_jaccard: float
    trust_tags: float
    naming_vote: float
    calibration: Calibration
    metrics: dict[str, float]


def hold_out_views(
    data: GraphData, rows: Int64Array, preset: Preset, rng: np.random.Generator
) -> QueryViews | None:
    """Hold out a part of the tagged images among `rows`. None when too few are tagged to spare any."""
    tagged = rows[data.tags_of_image.degrees()[rows] > 0]
    if len(tagged) < FEWEST_TAGGED:
        return None
    count = min(round(HELD_OUT_SHARE * len(tagged)), MOST_HELD_OUT)
    held = np.sort(rng.choice(tagged, size=count, replace=False)).astype(np.int64)
    kept = np.setdiff1d(rows, held)
    features = np.asarray(data.features[kept])
    tags = _rows(data.tags_of_image, kept)
    ground = lay_ground(features, tags, data.tag_text, preset, seed=0)
    queries = np.asarray(data.features[held])
    indexed = np.flatnonzero(tags.degrees()).astype(np.int64)
    truth = _table(_rows(data.tags_of_image, held), data.num_tags)
    index = _table(_rows(tags, indexed), data.num_tags)
    gains = _jaccard(truth, index)
    return QueryViews(
        ground=ground,
        features=queries,
        states=_attached(ground, features, queries, data.tag_text, preset),
        truth=truth.toarray().astype(np.float32),
        indexed=indexed,
        gains=gains,
        ideal=ideal_gains(gains, 10),
        indexed_sets=_sets(ground.skeleton, _rows(tags, indexed)),
    )


def measure(views: QueryViews, candidate: Candidate) -> Measured:
    """nDCG@5 of the conceptual part alone, at the share of the Jaccard view that suits the candidate."""
    model = solved_model(views.ground, candidate)
    jaccard, tags = _conceptual_scores(model, views, _conceptual(model, views.states))
    scored = [(_ndcg(views, share * jaccard + (1 - share) * tags), share) for share in _shares(model)]
    best, share = max(scored)
    return Measured(candidate, best, share)


def settle(views: QueryViews, best: Measured) -> Settled:
    """Trust in predictions, how far tags are taken to be missing, the slider's middle, and probabilities."""
    model = solved_model(views.ground, best.candidate)
    trust_jaccard, trust_tags = _trust(model, views)
    model.config = replace(model.config, trust_jaccard=trust_jaccard, trust_tags=trust_tags)
    missing = _missing(model, views, best.jaccard)
    model.config = replace(model.config, missing=missing)
    balance, untagged = _balance(model, views, best.jaccard)
    naming_vote, scores = _naming(model, views)
    return Settled(
        balance=balance,
        missing=missing,
        trust_jaccard=trust_jaccard,
        trust_tags=trust_tags,
        naming_vote=naming_vote,
        calibration=fit_calibration(scores, views.truth),
        metrics={"ndcg_middle": untagged},
    )


def _attached(
    ground: Ground, features: Float32Array, queries: Float32Array, tag_text: Float32Array, preset: Preset
) -> list[Tensor]:
    """States of the views, by the code that attaches queries."""
    skeleton = ground.skeleton
    numbers = np.arange(len(tag_text), dtype=np.int64)
    layers = run_layers(skeleton, ground.messages, features, tag_text, numbers)
    how = preset.graph
    rows, cosines = NeighbourIndex.build(ground.space(features)).search(
        ground.space(queries), how.neighbours, how.threshold
    )
    found = rows >= 0
    owners = np.broadcast_to(np.arange(len(queries))[:, None], rows.shape)
    edges = Csr.from_edges(owners[found], rows[found], cosines[found], len(queries))
    similar = weigh(edges, preset.weights.similar, preset.weights.similar_temperature)
    attached = attach(
        skeleton,
        queries,
        similar,
        Csr.empty(len(queries)),
        layers.images,
        [state.numpy() for state in layers.tags],
    )
    return [state.clone() for state in attached]


def _conceptual(model: KernelSage, states: list[Tensor]) -> Tensor:
    with torch.inference_mode():
        return model.embed_images(states)[:, model.config.visual_dim :]


def _conceptual_scores(
    model: KernelSage, views: QueryViews, queries: Tensor, index: Tensor | None = None
) -> tuple[Float32Array, Float32Array]:
    """Inner products of the two conceptual blocks, [v, indexed] each. `index`: those of the indexed."""
    rank = model.config.jaccard_rank
    blocks = model.embed_sets(views.indexed_sets) if index is None else index
    jaccard = (queries[:, :rank] @ blocks[:, :rank].T).numpy()
    tags = (queries[:, rank:] @ blocks[:, rank:].T).numpy()
    return jaccard, tags


def _shares(model: KernelSage) -> tuple[float, ...]:
    return JACCARD_SHARES if model.config.jaccard_rank else (0.0,)


def _ndcg(views: QueryViews, scores: FloatArray, k: int = 5) -> float:
    return float(np.nanmean(ndcg_at_k(ranked_gains(scores, views.gains, k), views.ideal, k)))


def _trust(model: KernelSage, views: QueryViews) -> tuple[float, float]:
    """Mean cosine of predicted and true blocks."""
    rank = model.config.jaccard_rank
    predicted = _conceptual(model, views.states)
    true = model.embed_sets(_basis_sets(model, views.truth))

    def cosine(block: slice) -> float:
        return float(functional.cosine_similarity(predicted[:, block], true[:, block]).mean())

    return (max(cosine(slice(0, rank)), 0.05) if rank else 1.0), max(cosine(slice(rank, None)), 0.05)


def _missing(model: KernelSage, views: QueryViews, share: float) -> float:
    """The most that can be added of what is predicted for tagged images before true tags rank worse."""
    told = _told(views, model)
    base = None
    chosen = MISSING_SHARES[0]
    for missing in (0.0, *MISSING_SHARES):
        model.config = replace(model.config, missing=missing)
        index = _index_blocks(model, views)
        jaccard, tags = _conceptual_scores(model, views, _conceptual(model, told), index)
        quality = _ndcg(views, share * jaccard + (1 - share) * tags, 10)
        base = quality if base is None else base
        if quality >= base - _COST_OF_MISSING and missing:
            chosen = missing
    return chosen


def _told(views: QueryViews, model: KernelSage) -> list[Tensor]:
    """The views' states as if their true tags were attached too."""
    state = views.states[-1].clone()
    start = model.tags_start
    state[:, start : start + model.config.tag_width] = _basis_sets(model, views.truth)
    return [*views.states[:-1], state]


def _index_blocks(model: KernelSage, views: QueryViews) -> Tensor:
    """Conceptual blocks of the indexed images, predictions included."""
    config = model.config
    with torch.inference_mode():
        expected = model.predict(views.ground.inputs * model.input_weights())
    rank = config.jaccard_rank
    plausible = expected[:, rank:] if config.size_width else expected[:, rank:].clamp_min(0)
    predicted = torch.cat(
        [
            config.trust_jaccard * unit(expected[:, :rank]),
            config.trust_tags * unit(plausible),
        ],
        dim=1,
    )
    return model.embed_sets(views.indexed_sets) + config.missing * predicted


def _naming(model: KernelSage, views: QueryViews) -> tuple[float, Float32Array]:
    """What the neighbours' vote weighs when tags are named: the recall of five named tags decides. With the
    scores [v, t] that come of it.
    """
    scores: dict[float, Float32Array] = {}
    for weight in NAMING_VOTES:
        model.config = replace(model.config, naming_vote=weight)
        with torch.inference_mode():
            scores[weight] = model.predicted_tags(views.states[-1]).numpy()
    total = (views.truth > 0).sum(axis=1)

    def recall(weight: float) -> float:
        named = np.take_along_axis(views.truth, top_k(scores[weight], _NAMED), axis=1) > 0
        return float(np.nanmean(recall_at_k(named, total, _NAMED)))

    best = max(NAMING_VOTES, key=recall)
    return best, scores[best]


def _balance(model: KernelSage, views: QueryViews, share: float) -> tuple[SliderBalance, float]:
    """The largest visual balance whose middle of the slider ranks about as well as the conceptual end; with
    the quality of that middle.

    That end has its trace of looks (LOOK; on photos looks tell something about meaning, see
    docs/decisions/0002), so each step away from it has a price. The trace is not chosen here: on a thousand
    views its effect drowns in noise.
    """
    jaccard, tags = _conceptual_scores(
        model, views, _conceptual(model, views.states), _index_blocks(model, views)
    )
    dim = model.config.visual_dim
    visual = (unit(views.states[-1][:, :dim]) @ unit(views.ground.inputs[:, :dim]).T).numpy()
    conceptual = share * jaccard + (1 - share) * tags

    def quality(weight: float) -> float:
        scores = conceptual + weight * visual
        return (_ndcg(views, scores) + _ndcg(views, scores, 10)) / 2

    middles = {each: quality(LOOK + each) for each in VISUAL_BALANCES}
    best = max(quality(LOOK), *middles.values())
    fair = [each for each, value in middles.items() if value >= best - _COST_OF_BALANCE]
    chosen = max(fair, default=VISUAL_BALANCES[0])
    return SliderBalance(chosen, share, LOOK), middles[chosen]


def _basis_sets(model: KernelSage, truth: Float32Array) -> Tensor:
    """Indicators [n, num_tags] 0/1 in the coordinates of the tag vectors."""
    return torch.from_numpy(truth) @ model.get_buffer("tag_vectors")[:, : model.config.tag_width]


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
