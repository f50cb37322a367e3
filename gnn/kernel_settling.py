"""What else the query views decide about a model once its readout is chosen.

How tags are named, how far a prediction is trusted, how far tags are completed, the middle of the
slider, probabilities, and how much is guessed beside tags that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gnn.calibration import Calibration, fit_calibration
from gnn.common_tags import telling
from gnn.evaluation.metrics import FloatArray, recall_at_k, top_k
from gnn.evaluation.tag_measures import tag_measures
from gnn.forgotten_tags import completed_share, completeness
from gnn.kernel_candidates import Measured
from gnn.kernel_fit import naming_model
from gnn.kernel_refusal import refusal_of
from gnn.kernel_validation import QueryViews, conceptual_scores, conceptual_view, jaccard_shares, ndcg
from gnn.model.kernel_config import KernelSageConfig
from gnn.model.kernel_sage import KernelSage
from gnn.model.kernels import unit
from gnn.naming_fit import NamerFitting
from gnn.naming_recipes import SHALLOW, NamingRecipe
from gnn.told_pictures import guessing_blocks
from gnn.trained_model import SliderBalance
from graph_store.arrays import Float32Array, Int64Array

LOOK = 0.04
VISUAL_BALANCES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
NAMING_VOTES = (0.0, 0.1, 0.3, 1.0)
NAMING_WHOLES = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
NAMING_SHARES = (0.5, 0.0, 0.3, 0.7, 1.0)
GUESSES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_NAMED = 5
_F1_COUNTS = 0.25
_COST_OF_BALANCE = 0.0015
_COST_OF_GUESSING = 0.03
_FEWEST_WITH_MORE = 20


@dataclass(frozen=True)
class Settled:
    """What is decided; see :class:`gnn.model.kernel_config.KernelSageConfig`, and
    :class:`gnn.naming_recipes.NamingRecipe`.
    """

    balance: SliderBalance
    completed: float
    trust_jaccard: float
    trust_tags: float
    recipe: NamingRecipe
    naming_vote: float
    naming_whole: float
    naming_share: float
    named_view: bool
    view_share: float | None
    calibration: Calibration
    metrics: dict[str, float]


def settle(views: QueryViews, best: Measured) -> Settled:
    """Trust in predictions, how far tags are completed, the slider's middle, and probabilities."""
    model, recipe = _naming_well(views, best)
    scores = _naming(model, views)
    share = _view(model, views)
    trust_jaccard, trust_tags = _trust(model, views)
    model.config = replace(model.config, trust_jaccard=trust_jaccard, trust_tags=trust_tags)
    calibration = fit_calibration(scores, views.truth)
    chances = calibration(scores)
    complete = completeness(chances, views.truth, telling(views.carried))
    model.config = replace(model.config, completed=completed_share(complete))
    balance, untagged, looks = _balance(model, views, share)
    guess, one_told = _guess(model, views, chances, share)
    refusal, left = refusal_of(model, views, chances, looks, _index_blocks(model, views), share)
    return Settled(
        balance=replace(balance, guess=guess, refusal=refusal),
        completed=model.config.completed,
        trust_jaccard=trust_jaccard,
        trust_tags=trust_tags,
        recipe=recipe,
        naming_vote=model.config.naming_vote,
        naming_whole=model.config.naming_whole,
        naming_share=model.config.naming_share,
        named_view=model.config.named_view,
        view_share=model.config.view_share,
        calibration=calibration,
        metrics={
            "ndcg_middle": untagged,
            "ndcg_one_told": one_told,
            "refused_left": left,
            "completeness": complete,
        },
    )


def _naming_well(views: QueryViews, best: Measured) -> tuple[KernelSage, NamingRecipe]:
    """The model whose perceptrons are trained as suits the views, and how that is."""
    chosen = SHALLOW
    skeleton, state = views.ground.skeleton, views.states[-1]

    def choose(fitting: NamerFitting) -> NamingRecipe:
        nonlocal chosen
        looks = state[:, : skeleton.config.width]
        chosen = fitting.best_recipe(looks, skeleton.votes(state), torch.from_numpy(views.truth))
        return chosen

    return naming_model(views.ground, best.candidate, choose), chosen


def _trust(model: KernelSage, views: QueryViews) -> tuple[float, float]:
    """Mean cosine of predicted and true blocks."""
    rank = model.config.jaccard_rank
    predicted = conceptual_view(model, views.states)
    true = model.embed_sets(_basis_sets(model, views.truth))

    def cosine(block: slice) -> float:
        return float(functional.cosine_similarity(predicted[:, block], true[:, block]).mean())

    return (max(cosine(slice(0, rank)), 0.05) if rank else 1.0), max(cosine(slice(rank, None)), 0.05)


def _both_cuts(views: QueryViews, scores: FloatArray) -> float:
    """The mean of nDCG@5 and nDCG@10, which is less at the mercy of single results than either."""
    return (ndcg(views, scores) + ndcg(views, scores, 10)) / 2


def _index_blocks(model: KernelSage, views: QueryViews) -> Tensor:
    """Conceptual blocks of the indexed images, with their tags completed."""
    ground = views.ground
    with torch.inference_mode():
        predicted = model.predict_apart(ground.inputs * model.input_weights())
        likely = model.likely_sets(ground.states, predicted)
        has_similar = ground.states[:, model.tags_start - 1 : model.tags_start]
        return model.described_blocks(views.indexed_sets, likely, has_similar)


def _naming(model: KernelSage, views: QueryViews) -> Float32Array:
    """Settle what weighs how much when tags are named; with the scores [v, t] that come of it.

    With five named tags an image, recall decides, and F1 a little: by F1 alone the perceptron, which finds
    more, would never be heard.
    """
    settings = [
        replace(model.config, naming_vote=vote, naming_whole=whole)
        for vote in NAMING_VOTES
        for whole in NAMING_WHOLES
        if not (whole and model.tells_tags_apart)
    ]
    if model.namer is not None:
        settings = [replace(model.config, naming_share=each) for each in NAMING_SHARES]
    truth = views.truth > 0

    def tried(config: KernelSageConfig) -> tuple[float, Float32Array, KernelSageConfig]:
        model.config = config
        with torch.inference_mode():
            scores = model.predicted_tags(views.states[-1]).numpy()
        scores += np.float32(config.naming_whole) * views.votes
        hits = np.take_along_axis(truth, top_k(scores, _NAMED), axis=1)
        recall = float(np.nanmean(recall_at_k(hits, truth.sum(axis=1), _NAMED)))
        return recall + _F1_COUNTS * tag_measures(scores, truth, _NAMED).f1_of_means, scores, config

    # One by one: each has a table of scores, of which with many tags hardly more than two fit into memory.
    _, scores, model.config = max(map(tried, settings), key=lambda each: each[0])
    return scores


def _view(model: KernelSage, views: QueryViews) -> float:
    """Settle whose tag view a prediction has, the readout's or the namer's, and how much the namer's
    perceptron says in it, which need not be what names tags best; with the best share of the Jaccard view
    beside it.
    """
    settings = [replace(model.config, named_view=False)]
    if model.likely is not None:
        settings.append(replace(model.config, named_view=True))
    if model.namer is not None:
        settings += [replace(model.config, named_view=True, view_share=each) for each in NAMING_SHARES]
    tried: list[tuple[float, float, KernelSageConfig]] = []
    for model.config in settings:
        jaccard, tags = conceptual_scores(model, views, conceptual_view(model, views.states))
        tried += [
            (_both_cuts(views, share * jaccard + (1 - share) * tags), share, model.config)
            for share in jaccard_shares(model)
        ]
    _, share, model.config = max(tried, key=lambda each: each[0])
    return share


def _balance(model: KernelSage, views: QueryViews, share: float) -> tuple[SliderBalance, float, Float32Array]:
    """The largest visual balance whose middle of the slider ranks about as well as the conceptual end; with
    the quality of that middle, and what looks weigh in it, [v, indexed].

    That end has its trace of looks (LOOK; on photos looks tell something about meaning, see
    docs/decisions/0002), so steps away from it have a price, up to the middle next to none. The trace is not
    chosen here: on a thousand views its effect drowns in noise.
    """
    jaccard, tags = conceptual_scores(
        model, views, conceptual_view(model, views.states), _index_blocks(model, views)
    )
    dim = model.config.visual_dim
    visual = (unit(views.states[-1][:, :dim]) @ unit(views.ground.inputs[:, :dim]).T).numpy()
    conceptual = share * jaccard + (1 - share) * tags

    def quality(weight: float) -> float:
        return _both_cuts(views, conceptual + weight * visual)

    middles = {each: quality(LOOK + each) for each in VISUAL_BALANCES}
    best = max(quality(LOOK), *middles.values())
    fair = [each for each, value in middles.items() if value >= best - _COST_OF_BALANCE]
    chosen = max(fair, default=VISUAL_BALANCES[0])
    return SliderBalance(chosen, share, LOOK), middles[chosen], np.float32(LOOK + chosen) * visual


def _guess(model: KernelSage, views: QueryViews, chances: Float32Array, share: float) -> tuple[float, float]:
    """How much is guessed of a picture's other tags, and nDCG@10 of pictures with one of several tags told.

    What ranks these best, as far as pictures whose tags are all told rank nearly as well as with any other
    choice. Nothing is guessed where hardly an image has a second tag. chances: [v, t].
    """
    several = np.flatnonzero(views.truth.sum(axis=1) >= 2)
    if len(several) < _FEWEST_WITH_MORE:
        return 0.0, 0.0
    drawn = np.random.default_rng(0).random(views.truth.shape) * views.truth
    one = np.zeros_like(views.truth)
    one[np.arange(len(one)), drawn.argmax(axis=1)] = 1.0
    directions = model.get_buffer("tag_vectors")[:, : model.config.tag_width]
    jaccard_share = share if model.config.jaccard_rank else 0.0
    index = _index_blocks(model, views)

    def quality(told: Float32Array, guess: float, rows: Int64Array) -> float:
        blocks = guessing_blocks(
            model, _basis_sets(model, told), told, chances, directions, guess, jaccard_share
        )
        jaccard, tags = conceptual_scores(model, views, blocks, index)
        scores = share * jaccard + (1 - share) * tags
        return ndcg(views, scores, 10, rows)

    every = np.flatnonzero(views.truth.any(axis=1))
    whole = {guess: quality(views.truth, guess, every) for guess in GUESSES}
    fair = [guess for guess in GUESSES if whole[guess] >= max(whole.values()) - _COST_OF_GUESSING]
    partly = {guess: quality(one, guess, several) for guess in fair}
    chosen = max(fair, key=partly.__getitem__)
    return chosen, partly[chosen]


def _basis_sets(model: KernelSage, truth: Float32Array) -> Tensor:
    """Indicators [n, num_tags] 0/1 in the coordinates of the tag vectors."""
    return torch.from_numpy(truth) @ model.get_buffer("tag_vectors")[:, : model.config.tag_width]
