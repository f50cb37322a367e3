"""The settings that are tried for each baseline, and the search through them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from gnn.evaluation.baselines import Neighbours, RidgePredictor, TagPredictor, VotePredictor, Whitening
from gnn.evaluation.mlp import MlpConfig, MlpInputs, MlpPredictor, probabilities, train_network
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.validation import Best, Candidate, Recipe, Validation
from gnn.naming_recipes import FREE, LONG
from graph_store.arrays import Float32Array

DEEP_MLPS = (
    (LONG.fewest_images, replace(LONG.network, epochs=60)),
    (FREE.fewest_images, replace(FREE.network, epochs=40)),
)
"""What the default preset's own perceptrons may be, a baseline may be too, from as many images."""


@dataclass(frozen=True)
class Grids:
    """What is tried: small grids, laid around what won on photographs, drawings and captions.

    hidden_neighbours and looks_weights are of *incomplete* and *completion*: with half of the tags left, more
    neighbours are worth asking.
    """

    neighbours: tuple[int, ...] = (10, 20, 40, 80)
    raw_sharpness: tuple[float, ...] = (10.0, 20.0, 40.0)
    whitenings: tuple[tuple[int, float], ...] = ((128, 0.5), (256, 0.5), (256, 0.75), (512, 0.5), (512, 1.0))
    white_sharpness: tuple[float, ...] = (5.0, 10.0, 20.0)
    ridge_penalties: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    idf_powers: tuple[float, ...] = (0.0, 0.5, 1.0)
    concept_weights: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    mlps: tuple[MlpConfig, ...] = (
        MlpConfig(),
        MlpConfig(weight_decay=1.0),
        MlpConfig(hidden=1024, dropout=0.6, input_dropout=0.5),
        MlpConfig(input_dropout=0.0, weight_decay=0.02),
        MlpConfig(hidden=256, dropout=0.3, input_dropout=0.1),
    )
    deep_mlps: tuple[tuple[int, MlpConfig], ...] = DEEP_MLPS
    hidden_neighbours: tuple[int, ...] = (20, 40, 80, 160)
    looks_weights: tuple[float, ...] = (0.0, 0.03, 0.1, 0.2, 0.3, 0.5)
    patience: int = 6
    tuning_images: int = 12_000
    validation_share: float = 0.15
    validation_images: int = 900

    def patience_of(self, config: MlpConfig) -> int:
        """Epochs without a better one after which training stops. Deep ones get all of theirs: they learn
        slowly, by noisy steps, and a pause of six epochs once ended one at 26 of 60, which cost 0.01 nDCG@5.
        """
        return self.patience if config.layers == 1 else config.epochs

    def mlps_for(self, images: int) -> list[MlpConfig]:
        """Those that are tried with so many images, those that are held back among them."""
        return [*self.mlps, *(config for fewest, config in self.deep_mlps if images >= fewest)]


QUICK_GRIDS = Grids(
    neighbours=(20, 40),
    raw_sharpness=(20.0,),
    whitenings=((256, 0.5),),
    white_sharpness=(10.0,),
    ridge_penalties=(0.3, 1.0, 3.0),
    idf_powers=(0.0, 0.5),
    concept_weights=(0.5, 0.7, 0.9),
    mlps=(MlpConfig(),),
    deep_mlps=(),
    hidden_neighbours=(20, 80),
    looks_weights=(0.03, 0.1, 0.3),
    tuning_images=3000,
    validation_images=500,
)


def try_votes(validation: Validation, grids: Grids) -> Best:
    """The vote on raw features."""
    best = Best()
    found = Neighbours.find(validation.queries, validation.features, max(grids.neighbours))
    for k in grids.neighbours:
        for sharpness in grids.raw_sharpness:
            best.see(_vote(validation, found, k, sharpness, None))
    return best


def try_whitened_votes(validation: Validation, grids: Grids) -> Best:
    """The vote on PCA-whitened features."""
    best = Best()
    for dim, power in grids.whitenings:
        whitening = Whitening.fit(validation.features, dim, power)
        found = Neighbours.find(
            whitening(validation.queries), whitening(validation.features), max(grids.neighbours)
        )
        for k in grids.neighbours:
            for sharpness in grids.white_sharpness:
                best.see(_vote(validation, found, k, sharpness, (dim, power)))
    return best


def _vote(
    validation: Validation, found: Neighbours, k: int, sharpness: float, white: tuple[int, float] | None
) -> Candidate:
    """One setting of the vote; white: the (dim, power) of the whitened space that `found` was searched in."""
    recipe = vote_recipe(k, sharpness, white)
    return validation.candidate(recipe.settings, found.vote(validation.tags, k, sharpness), recipe.fit)


def vote_recipe(k: int, sharpness: float, white: tuple[int, float] | None) -> Recipe:
    """One setting of the vote; white: the (dim, power) of the whitened space that it searches in."""

    def fit(features: Float32Array, tags: TagTable) -> TagPredictor:
        if white is None:
            return VotePredictor(features, tags, k, sharpness)
        whitening = Whitening.fit(features, *white)
        return VotePredictor(whitening(features), tags, k, sharpness, whitening)

    settings = {"k": k, "sharpness": sharpness}
    if white is not None:
        settings |= {"dim": white[0], "power": white[1]}
    return Recipe(settings, fit)


def try_ridges(validation: Validation, grids: Grids) -> Best:
    """Ridge regression to tags."""
    best = Best()
    path = RidgePredictor.path(validation.features, validation.tags, grids.ridge_penalties)
    for penalty, ridge in zip(grids.ridge_penalties, path, strict=True):

        def fit(features: Float32Array, tags: TagTable, penalty: float = penalty) -> TagPredictor:
            return RidgePredictor.fit(features, tags, penalty)

        best.see(validation.candidate({"penalty": penalty}, ridge.predict(validation.queries), fit))
    return best


def try_mlps(validation: Validation, voter: Candidate, grids: Grids, seed: int) -> Best:
    """The perceptron on features and the chosen vote: size, regularisation and number of epochs."""
    vote = _as_vote(voter.fit(validation.features, validation.tags))
    train_inputs, scaler = _mlp_inputs(validation.features, vote)
    query_inputs = scaler(validation.queries, vote.predict(validation.queries))
    best = Best()
    for config in grids.mlps_for(validation.num_indexed):
        own = Best()

        def after_epoch(epoch: int, network: nn.Module, config: MlpConfig = config, own: Best = own) -> bool:
            chosen = replace(config, epochs=epoch)

            def fit(features: Float32Array, tags: TagTable) -> TagPredictor:
                full_vote = _as_vote(voter.fit(features, tags))
                inputs, full_scaler = _mlp_inputs(features, full_vote)
                return MlpPredictor(train_network(inputs, tags, chosen, seed=seed), full_scaler, full_vote)

            settings = {**asdict(chosen), **{f"vote_{name}": v for name, v in voter.settings.items()}}
            own.see(validation.candidate(settings, probabilities(network, query_inputs), fit))
            # Naming tags peaks earlier than searching, so the search alone decides when to stop.
            return epoch - int(own.both()[0].settings["epochs"]) >= grids.patience_of(config)

        train_network(train_inputs, validation.tags, config, seed=seed, after_epoch=after_epoch)
        for candidate in own.both():
            best.see(candidate)
    return best


def _as_vote(predictor: TagPredictor) -> VotePredictor:
    """The predictor as the vote that it is; TypeError otherwise."""
    if not isinstance(predictor, VotePredictor):
        raise TypeError("the perceptron stands on a vote")
    return predictor


def _mlp_inputs(features: Float32Array, vote: VotePredictor) -> tuple[torch.Tensor, MlpInputs]:
    """The perceptron's inputs for the indexed images, whose votes leave the image itself out."""
    votes = vote.predict_indexed(features)
    scaler = MlpInputs.fit(features, votes)
    return scaler(features, votes), scaler
