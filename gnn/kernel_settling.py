"""What else the query views decide about a model once its readout is chosen.

How tags are named, how far a prediction is trusted, how far tags are taken to be missing, the middle of the
slider, and probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gnn.calibration import Calibration, fit_calibration
from gnn.evaluation.metrics import recall_at_k, top_k
from gnn.evaluation.tag_measures import tag_measures
from gnn.kernel_candidates import Measured
from gnn.kernel_fit import naming_model
from gnn.kernel_validation import QueryViews, conceptual_scores, conceptual_view, jaccard_shares, ndcg
from gnn.model.kernel_sage import KernelSage, KernelSageConfig
from gnn.model.kernels import unit
from gnn.trained_model import SliderBalance
from graph_store.arrays import Float32Array

LOOK = 0.02
VISUAL_BALANCES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
MISSING_SHARES = (0.05, 0.1, 0.15, 0.2, 0.3)
NAMING_VOTES = (0.0, 0.1, 0.3, 1.0)
NAMING_SHARES = (0.5, 0.0, 0.3, 0.7, 1.0)
_NAMED = 5
_F1_COUNTS = 0.25
_COST_OF_BALANCE = 0.002
_COST_OF_MISSING = 0.01


@dataclass(frozen=True)
class Settled:
    """What is decided; see :class:`gnn.model.kernel_sage.KernelSageConfig`."""

    balance: SliderBalance
    missing: float
    trust_jaccard: float
    trust_tags: float
    naming_vote: float
    naming_share: float
    named_view: bool
    calibration: Calibration
    metrics: dict[str, float]


def settle(views: QueryViews, best: Measured) -> Settled:
    """Trust in predictions, how far tags are taken to be missing, the slider's middle, and probabilities."""
    model = naming_model(views.ground, best.candidate)
    scores = _naming(model, views)
    share = _view(model, views)
    trust_jaccard, trust_tags = _trust(model, views)
    model.config = replace(model.config, trust_jaccard=trust_jaccard, trust_tags=trust_tags)
    missing = _missing(model, views, share)
    model.config = replace(model.config, missing=missing)
    balance, untagged = _balance(model, views, share)
    return Settled(
        balance=balance,
        missing=missing,
        trust_jaccard=trust_jaccard,
        trust_tags=trust_tags,
        naming_vote=model.config.naming_vote,
        naming_share=model.config.naming_share,
        named_view=model.config.named_view,
        calibration=fit_calibration(scores, views.truth),
        metrics={"ndcg_middle": untagged},
    )


def _trust(model: KernelSage, views: QueryViews) -> tuple[float, float]:
    """Mean cosine of predicted and true blocks."""
    rank = model.config.jaccard_rank
    predicted = conceptual_view(model, views.states)
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
        jaccard, tags = conceptual_scores(model, views, conceptual_view(model, told), index)
        quality = ndcg(views, share * jaccard + (1 - share) * tags, 10)
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
    ground = views.ground
    with torch.inference_mode():
        predicted = model.predict_apart(ground.inputs * model.input_weights())
        expected = model.expected_blocks(ground.states, predicted)
    return model.embed_sets(views.indexed_sets) + model.config.missing * expected


def _naming(model: KernelSage, views: QueryViews) -> Float32Array:
    """Settle what weighs how much when tags are named; with the scores [v, t] that come of it.

    With five named tags an image, recall decides, and F1 a little: by F1 alone the perceptron, which finds
    more, would never be heard.
    """
    settings = [replace(model.config, naming_vote=each) for each in NAMING_VOTES]
    if model.namer is not None:
        settings = [replace(model.config, naming_share=each) for each in NAMING_SHARES]
    truth = views.truth > 0
    tried: list[tuple[float, Float32Array, KernelSageConfig]] = []
    for model.config in settings:
        with torch.inference_mode():
            scores = model.predicted_tags(views.states[-1]).numpy()
        hits = np.take_along_axis(truth, top_k(scores, _NAMED), axis=1)
        recall = float(np.nanmean(recall_at_k(hits, truth.sum(axis=1), _NAMED)))
        tried.append(
            (recall + _F1_COUNTS * tag_measures(scores, truth, _NAMED).f1_of_means, scores, model.config)
        )
    _, scores, model.config = max(tried, key=lambda each: each[0])
    return scores


def _view(model: KernelSage, views: QueryViews) -> float:
    """Settle whose tag view a prediction has, the readout's or the namer's; with the best share of the
    Jaccard view beside it.
    """
    tried: list[tuple[float, float, bool]] = []
    for named in (False, True) if model.namer is not None else (False,):
        model.config = replace(model.config, named_view=named)
        jaccard, tags = conceptual_scores(model, views, conceptual_view(model, views.states))
        tried += [
            (ndcg(views, share * jaccard + (1 - share) * tags), share, named)
            for share in jaccard_shares(model)
        ]
    _, share, named = max(tried)
    model.config = replace(model.config, named_view=named)
    return share


def _balance(model: KernelSage, views: QueryViews, share: float) -> tuple[SliderBalance, float]:
    """The largest visual balance whose middle of the slider ranks about as well as the conceptual end; with
    the quality of that middle.

    That end has its trace of looks (LOOK; on photos looks tell something about meaning, see
    docs/decisions/0002), so each step away from it has a price. The trace is not chosen here: on a thousand
    views its effect drowns in noise.
    """
    jaccard, tags = conceptual_scores(
        model, views, conceptual_view(model, views.states), _index_blocks(model, views)
    )
    dim = model.config.visual_dim
    visual = (unit(views.states[-1][:, :dim]) @ unit(views.ground.inputs[:, :dim]).T).numpy()
    conceptual = share * jaccard + (1 - share) * tags

    def quality(weight: float) -> float:
        scores = conceptual + weight * visual
        return (ndcg(views, scores) + ndcg(views, scores, 10)) / 2

    middles = {each: quality(LOOK + each) for each in VISUAL_BALANCES}
    best = max(quality(LOOK), *middles.values())
    fair = [each for each, value in middles.items() if value >= best - _COST_OF_BALANCE]
    chosen = max(fair, default=VISUAL_BALANCES[0])
    return SliderBalance(chosen, share, LOOK), middles[chosen]


def _basis_sets(model: KernelSage, truth: Float32Array) -> Tensor:
    """Indicators [n, num_tags] 0/1 in the coordinates of the tag vectors."""
    return torch.from_numpy(truth) @ model.get_buffer("tag_vectors")[:, : model.config.tag_width]
