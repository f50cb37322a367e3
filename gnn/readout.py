"""From node states to the two vectors of a query, for each kind of model.

The index holds one vector an image. A query brings two for it, a visual and a conceptual one, and its score
is balanced between their inner products.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gnn.asked_tags import AskedTags
from gnn.model.carriers import carrier_directions
from gnn.model.kernel_sage import FEW, KernelSage
from gnn.model.kernels import unit
from gnn.model.rise_sage import RiseSage
from gnn.query_types import Slider
from gnn.rise_readout import RiseReadout
from gnn.tag_votes import tag_votes
from gnn.told_pictures import guessing_blocks, refusing_blocks, without
from gnn.trained_model import TrainedModel
from graph_store.arrays import BoolArray, Float32Array, Int64Array
from graph_store.csr import Csr

_PREDICTED = 5


class Readout(Protocol):
    """What differs between models when a query is made. All arrays [n, dim] unless said otherwise."""

    slider: Slider
    meaning: Float32Array
    """[dim]: 1 where a conceptual vector speaks of tags, 0 where it speaks of looks."""
    refusal: float
    """How much of its vector a refused tag of weight -1 takes away beside pictures that no tag is told of."""

    def embeddings(self, states: list[Tensor], asked: AskedTags) -> Float32Array:
        """What nodes with these states are embedded as when they ask."""

    def visual(self, embeddings: Float32Array) -> Float32Array:
        """The visual vector of nodes with these embeddings."""

    def conceptual(
        self, embeddings: Float32Array, mean_tags: Callable[[], Float32Array], told: BoolArray
    ) -> Float32Array:
        """The conceptual vector. mean_tags: gives [n, dim], the weighted mean of the asked tags' embeddings,
        to those that need it; told: [n], whether there are any.
        """

    def tag_vectors(self) -> Float32Array:
        """[num_tags, dim]: what a tag adds to a conceptual vector; a negative tag takes it away."""

    def tag_scores(self, states: list[Tensor], similar: Csr, *, indexed: bool = False) -> Float32Array:
        """[n, tags of the graph]: the more, the likelier; not calibrated. similar: the nodes' weighted
        edges; indexed: these are images that the model may have learnt from, which are not to speak for
        themselves.
        """


class KernelReadout:
    """Blocks of one vector: the visual query touches the first, the conceptual one the others, and the first
    as far as looks tell about meaning (two images with nothing in common in tags may still be alike).
    A picture's prediction is quieter than a tag that is named, and so is what is refused of it.
    """

    def __init__(
        self,
        trained: TrainedModel,
        tag_states: Float32Array,
        tag_embeddings: Float32Array,
        tags_of_image: Csr | None,
    ) -> None:
        assert isinstance(trained.model, KernelSage)
        self._model = trained.model
        config = trained.model.config
        self._visual_dim = config.visual_dim
        share = trained.balance.jaccard if config.jaccard_rank else 0.0
        self._jaccard, self._guess, self._calibration = share, trained.balance.guess, trained.calibration
        self._scale = np.concatenate(
            [
                np.full(config.visual_dim, trained.balance.look, np.float32),
                np.full(config.jaccard_rank, share, np.float32),
                np.full(config.tag_width, 1.0 - share, np.float32),
            ]
        )
        self.slider = Slider(trained.balance.visual)
        self.refusal = trained.balance.refusal
        self.meaning = (np.arange(len(self._scale)) >= config.visual_dim).astype(np.float32)
        self._tag_vectors = np.asarray(tag_embeddings * self._scale, dtype=np.float32)
        self._tags_of_image = tags_of_image
        self._tag_directions = torch.from_numpy(np.array(tag_states[:, : config.tag_width]))

    def embeddings(self, states: list[Tensor], asked: AskedTags) -> Float32Array:
        guessed = asked.guessed & (self._guess > 0)
        named = asked.named & ~asked.unsure & self._model.config.asking
        by_sets = guessed | asked.unsure | asked.refusing | named
        if not by_sets.any():
            result: Float32Array = self._embedded(states[-1]).numpy()
            return result
        result = np.empty((len(by_sets), self._model.dim), dtype=np.float32)
        plain = torch.from_numpy(~by_sets)
        if not by_sets.all():
            result[~by_sets] = self._embedded(states[-1][plain]).numpy()
        for rows, blocks in (
            (np.flatnonzero(guessed), self._guessing),
            (np.flatnonzero(asked.unsure & ~guessed), self._unsure),
            (np.flatnonzero(asked.refusing), self._refusing),
            (np.flatnonzero(named), self._named),
        ):
            if len(rows):
                last = states[-1][torch.from_numpy(rows)]
                conceptual = blocks(last, asked, rows)
                result[rows] = torch.cat([self._model.visual_block(last), conceptual], dim=1).numpy()
        return result

    def _embedded(self, last: Tensor) -> Tensor:
        """[n, dim] of nodes with these last states."""
        return _in_parts(lambda part: self._model.embed_images([part]), last)

    def _guessing(self, last: Tensor, asked: AskedTags, rows: Int64Array) -> Tensor:
        """The conceptual blocks of pictures that tags are asked for beside."""
        told = asked.sets(rows, len(self._tag_directions))
        chances = self._calibration(self.tag_scores([last], asked.similar.take(rows), indexed=True))
        return guessing_blocks(
            self._model,
            torch.from_numpy(told) @ self._tag_directions,
            told,
            without(chances, asked.refused.take(rows)),
            self._tag_directions,
            self._guess,
            self._jaccard,
        )

    def _refusing(self, last: Tensor, asked: AskedTags, rows: Int64Array) -> Tensor:
        """The conceptual blocks of pictures to be like but for some tags."""
        refused = asked.refused.take(rows)
        most = np.zeros(len(rows), dtype=np.float32)
        np.maximum.at(most, refused.edge_rows(), refused.weights)
        return refusing_blocks(
            self._model,
            self._embedded(last)[:, self._visual_dim :],
            without(
                self._calibration(self.tag_scores([last], asked.similar.take(rows), indexed=True)), refused
            ),
            self._tag_directions,
            most,
        )

    def _named(self, last: Tensor, asked: AskedTags, rows: Int64Array) -> Tensor:
        """The conceptual blocks of tags that are asked for by themselves, where they share coordinates."""
        del asked, rows
        return self._leading(self._model.own_sets(last))

    def _leading(self, sets: Tensor) -> Tensor:
        """The directions to the images that carry these sets [n, tag_width], of unit length."""
        return unit(sets @ self._model.get_buffer("asking"))

    def _unsure(self, last: Tensor, asked: AskedTags, rows: Int64Array) -> Tensor:
        """The conceptual blocks of words that are no tags: of a description the set of tags that is expected,
        of names the way to the images that carry what they may mean.
        """
        del last
        told = torch.from_numpy(asked.sets(rows, len(self._tag_directions)))
        sets = told @ self._tag_directions
        blocks = self._model.embed_sets(sets)
        names = torch.from_numpy(~asked.described[rows])
        if self._model.config.asking:
            blocks[names] = self._leading(sets[names])
        elif self._carriers is not None and names.any():
            number = told[names].sum(dim=1, keepdim=True).clamp_min(1.0)
            blocks[names] = (sets[names] / number) @ self._carriers
        return blocks

    @cached_property
    def _carriers(self) -> Tensor | None:
        return carrier_directions(self._model, self._jaccard)

    def visual(self, embeddings: Float32Array) -> Float32Array:
        vectors = embeddings.copy()
        vectors[:, self._visual_dim :] = 0.0
        return vectors

    def conceptual(
        self, embeddings: Float32Array, mean_tags: Callable[[], Float32Array], told: BoolArray
    ) -> Float32Array:
        del mean_tags, told  # the node's own layers have taken its tags in
        result: Float32Array = embeddings * self._scale
        return result

    def tag_vectors(self) -> Float32Array:
        return self._tag_vectors

    def tag_scores(self, states: list[Tensor], similar: Csr, *, indexed: bool = False) -> Float32Array:
        expected = _in_parts(lambda part: self._model.expected_sets(part, apart=indexed), states[-1])
        scores: Float32Array = (expected @ self._tag_directions.T).numpy()
        whole = self._model.config.naming_whole
        if whole:
            assert self._tags_of_image is not None
            scores += np.float32(whole) * tag_votes(similar, self._tags_of_image, scores.shape[1])
        return scores


def _in_parts(compute: Callable[[Tensor], Tensor], last: Tensor) -> Tensor:
    """What the model computes of nodes with these last states. Of more rows at once it is less precise, and
    what a question gets must not depend on how many others are asked with it.
    """
    return torch.cat([compute(part) for part in torch.split(last, FEW)])


class SageReadout:
    """Misraa et al. 2020, Eq. for inference: E = (W1·E_i + W2·E_t) / 2 with W1 + W2 = 1.

    E_i is the attached node, E_t the mean of the embeddings of its tags; a bare image's tags are those
    predicted for it, the nearest five by weight of their likeness.
    """

    slider = Slider()
    refusal = 1.0

    def __init__(self, trained: TrainedModel, tag_embeddings: Float32Array) -> None:
        self._model = trained.model
        self.meaning = np.ones(trained.model.dim, np.float32)
        self._tags = np.asarray(tag_embeddings, dtype=np.float32)

    def embeddings(self, states: list[Tensor], asked: AskedTags) -> Float32Array:
        del asked  # the published model has no second opinion on a picture
        result: Float32Array = self._model.embed_images(states).numpy()
        return result

    def visual(self, embeddings: Float32Array) -> Float32Array:
        return embeddings * np.float32(0.5)

    def conceptual(
        self, embeddings: Float32Array, mean_tags: Callable[[], Float32Array], told: BoolArray
    ) -> Float32Array:
        tags = mean_tags()
        scores = embeddings @ self._tags.T
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, :_PREDICTED]
        predicted = self._tags[nearest].mean(axis=1) if scores.shape[1] else np.zeros_like(tags)
        result: Float32Array = np.where(told[:, None], tags, predicted) * np.float32(0.5)
        return result

    def tag_vectors(self) -> Float32Array:
        return self._tags * np.float32(0.5)

    def tag_scores(self, states: list[Tensor], similar: Csr, *, indexed: bool = False) -> Float32Array:
        del similar, indexed  # few weights for all images: hardly any of them is one image's own
        scores: Float32Array = self._model.embed_images(states).numpy() @ self._tags.T
        return scores


def readout_of(
    trained: TrainedModel,
    tag_states: Float32Array,
    tag_embeddings: Float32Array,
    tags_of_image: Csr | None = None,
) -> Readout:
    """The readout of the model's kind. tag_states: h^(L-1) of the tags; tags_of_image: of the graph, which
    only the naming of tags needs.
    """
    if isinstance(trained.model, KernelSage):
        return KernelReadout(trained, tag_states, tag_embeddings, tags_of_image)
    if isinstance(trained.model, RiseSage):
        return RiseReadout(trained.model, trained.balance, tag_embeddings)
    return SageReadout(trained, tag_embeddings)
