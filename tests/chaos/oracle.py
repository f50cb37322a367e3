"""What a search over a catalogue must answer, worked out the long way round.

Nothing of the query engine, the indexes, the attachment or the delta is used: the graph is dense matrices,
the model's own layers run over all of it in double precision, with every written picture as one more node
that only receives, and each query is compared with every picture.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnn.encoders.base import TextEncoder
from gnn.model.carriers import carrier_directions
from gnn.model.kernel_sage import KernelSage
from gnn.trained_model import load_trained_model
from gnn.words import Words
from graph_store.graph import Graph

Doubles = NDArray[np.float64]

_TOLD = 0.3
"""What a told tag weighs by itself, beside the set that it is completed to."""


@dataclass(frozen=True)
class Picture:
    """What a plain dictionary knows of one picture. features: [dim]; tags: weight by name."""

    features: NDArray[np.float32]
    tags: Mapping[str, float]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """Two parts and their sum."""

    visual: float
    conceptual: float

    @property
    def total(self) -> float:
        return self.visual + self.conceptual


@dataclass(frozen=True)
class Asked:
    """A query: a picture by id, tags by name with their weights (a negative one pushes away), the dial."""

    image: str | None = None
    tags: Mapping[str, float] = field(default_factory=dict)
    attach: str = "auto"
    visual_weight: float = 0.5


class Oracle:
    """One snapshot, made when the catalogue was `base`, and preset `default`'s way to compare."""

    def __init__(self, directory: Path, base: Mapping[str, Picture], encoder: TextEncoder) -> None:
        trained = load_trained_model(directory / "model")
        assert isinstance(trained.model, KernelSage)
        self._model = trained.model.double()
        self._how, self._balance, self._chances = trained.preset, trained.balance, trained.calibration
        self._space = trained.space
        self.ids: list[str] = json.loads((directory / "records" / "ids.json").read_bytes())
        self._row = {image_id: row for row, image_id in enumerate(self.ids)}
        self.tags: list[str] = json.loads((directory / "tags.json").read_bytes())["names"]
        self._number = {name: number for number, name in enumerate(self.tags)}
        pictures = [base[image_id] for image_id in self.ids]
        self._features = np.array([picture.features for picture in pictures], dtype=np.float64)
        self._spaced = trained.space(self._features).astype(np.float64)
        self._told = self._tag_rows([dict(picture.tags) for picture in pictures])
        self._near = np.stack([self._neighbours(self._spaced[row], row) for row in range(len(pictures))])
        text = np.load(directory / "tag_text.npy")
        self._words = Words(tuple(self.tags), text, encoder)
        known = {name: number for number, name in enumerate(trained.tag_names)}
        self._start = self._model.input_tags(
            torch.from_numpy(text.astype(np.float64)),
            torch.tensor([known.get(name, -1) for name in self.tags], dtype=torch.int64),
        )
        self._related = _rows_that_sum_to_one(_dense(Graph.load(directory / "graph").related))
        config = trained.model.config
        share = self._balance.jaccard if config.jaccard_rank else 0.0
        self._looks = np.arange(self._model.dim) < config.visual_dim
        self._scale = np.concatenate(
            [
                np.full(config.visual_dim, self._balance.look),
                np.full(config.jaccard_rank, share),
                np.full(config.tag_width, 1.0 - share),
            ]
        )
        self._nodes: dict[int, tuple[Picture, Doubles]] = {}
        nothing = np.zeros((0, 0))
        self._base, self._tag_vectors, _, before = self._run(nothing, nothing, nothing)
        self._directions = before[:, : config.tag_width].numpy()

    # -- pictures

    def vector(self, image_id: str, picture: Picture, changed: bool) -> Doubles:
        """[dim]: where a picture is, as the snapshot has it or, if it was written later, as one more node."""
        if not changed:
            return self._base[self._row[image_id]]
        known = self._nodes.get(id(picture))
        if known is None:
            near = self._neighbours(self._new(picture), self._row.get(image_id))
            vector = self._node(picture.features, near, self._meant(picture.tags))
            # The picture is kept with it, so that nothing else gets its id.
            known = self._nodes[id(picture)] = picture, vector
        return known[1]

    # -- queries

    def scores(self, asked: Asked, pictures: Mapping[str, Picture], changed: set[str]) -> dict[str, Score]:
        """The score of every picture. changed: those that are not as the snapshot has them."""
        visual, conceptual = self._query(asked, pictures, changed)
        v = self._balance.visual * asked.visual_weight
        w = v + 1.0 - asked.visual_weight
        visual, conceptual = visual * v / w, conceptual * (1.0 - asked.visual_weight) / w
        found = {}
        for image_id, picture in pictures.items():
            vector = self.vector(image_id, picture, image_id in changed)
            found[image_id] = Score(float(visual @ vector), float(conceptual @ vector))
        return found

    def cancels(self, asked: Asked, pictures: Mapping[str, Picture], changed: set[str]) -> bool:
        """Whether nothing is left of a query, so that it has to be refused."""
        visual, conceptual = self._query(asked, pictures, changed)
        v = self._balance.visual * asked.visual_weight
        left = visual * v + conceptual * (1.0 - asked.visual_weight)
        meaning = conceptual * ~self._looks
        return bool(np.linalg.norm(left) < 1e-5 or np.linalg.norm(meaning) < 1e-2)

    def _query(
        self, asked: Asked, pictures: Mapping[str, Picture], changed: set[str]
    ) -> tuple[Doubles, Doubles]:
        wanted = {name: weight for name, weight in asked.tags.items() if weight > 0}
        unwanted = {name: -weight for name, weight in asked.tags.items() if weight < 0}
        told, chance = self._meant(wanted), self._chance(wanted)
        if asked.image is None:
            features = told @ self._prototypes()
            node = self._node(
                features / np.linalg.norm(features), np.zeros(len(self.ids)), told, chance=chance
            )
        else:
            picture, is_new = pictures[asked.image], asked.image in changed
            if asked.attach == "auto" and not asked.tags:
                node = self.vector(asked.image, picture, is_new)
            else:
                row = self._row.get(asked.image)
                by_tags = bool(told.sum()) and asked.attach != "image"
                near = self._neighbours(self._new(picture), row) if is_new else self._near[row]
                if asked.attach == "auto":
                    own = self._meant(picture.tags)
                    told, chance = told + own, np.minimum(chance + (own > 0), 1.0)
                node = self._node(
                    picture.features,
                    near if asked.attach != "tags" else np.zeros(len(self.ids)),
                    told if asked.attach != "image" else np.zeros(len(self.tags)),
                    chance=chance if asked.attach != "image" else np.zeros(len(self.tags)),
                    guessed=by_tags,
                    refused=unwanted,
                )
        conceptual = node * self._scale
        if unwanted:
            away = self._meant(unwanted) @ (self._tag_vectors * self._scale)
            beside_tags = asked.attach != "image" and told.sum()
            conceptual = conceptual - away * (1 / told.sum() if beside_tags else self._balance.refusal)
        return node * self._looks, conceptual

    # -- nodes

    def _node(
        self,
        features: NDArray[Any],
        near: Doubles,
        told: Doubles,
        *,
        chance: Doubles | None = None,
        guessed: bool = False,
        refused: Mapping[str, float] | None = None,
    ) -> Doubles:
        embedded, _, state, _ = self._run(features[None], near[None], told[None])
        looks, meaning = embedded[-1, self._looks], embedded[-1, ~self._looks]
        if chance is None:
            return embedded[-1]
        if guessed and near.any() and self._balance.guess:
            meaning = self._completed(state[-1:], self._wanted(told, chance), refused or {})
        elif told.any() and (chance[told > 0] < 1).any():
            wanted = self._wanted(told, chance)
            ways = carrier_directions(self._model, self._balance.jaccard)
            assert ways is not None
            meaning = wanted @ self._directions @ ways.numpy() / max(wanted.sum(), 1.0)
        elif refused and not told.any():
            meaning = self._without(state[-1:], meaning, refused)
        return np.concatenate([looks, meaning])

    @torch.no_grad()
    def _shown(self, state: torch.Tensor, refused: Mapping[str, float]) -> Doubles:
        """[tags]: what a picture is likely to show, but for what is refused."""
        scores = self._model.expected_sets(state, apart=True).numpy() @ self._directions.T
        shown: Doubles = self._chances(scores)[0] * np.maximum(1.0 - self._meant(refused), 0.0)
        return shown

    @torch.no_grad()
    def _completed(self, state: torch.Tensor, wanted: Doubles, refused: Mapping[str, float]) -> Doubles:
        """The conceptual blocks of the told tags and of what is guessed beside them."""
        guesses = self._balance.guess * (1.0 - wanted) * self._shown(state, refused)
        tags = wanted @ self._directions
        whole = torch.from_numpy(tags + guesses @ self._directions)
        blocks = self._model.embed_sets(whole[None])[0].numpy()
        blocks[self._model.config.jaccard_rank :] += _TOLD * tags / self._scale[-1]
        result: Doubles = blocks
        return result

    @torch.no_grad()
    def _without(self, state: torch.Tensor, meaning: Doubles, refused: Mapping[str, float]) -> Doubles:
        """The conceptual blocks of a picture that nothing is told of, without what is refused."""
        config = self._model.config
        shown = self._shown(state, refused) @ self._directions
        blocks = self._model.embed_sets(torch.from_numpy(shown)[None])[0].numpy()
        blocks[: config.jaccard_rank] *= config.trust_jaccard
        blocks[config.jaccard_rank :] *= config.trust_tags
        taken = min(self._meant(refused).max(), 1.0)
        result: Doubles = meaning + taken * (blocks - meaning)
        return result

    @staticmethod
    def _wanted(told: Doubles, chance: Doubles) -> Doubles:
        """[tags]: how far each tag is asked for, between 0 and 1. told: weights of the edges."""
        asked = np.divide(told, chance, out=np.zeros_like(told), where=chance > 0)
        wanted: Doubles = chance * np.minimum(asked * told.sum() / (asked * told).sum(), 1.0)
        return wanted

    @torch.no_grad()
    def _run(
        self, features: NDArray[Any], near: Doubles, told: Doubles
    ) -> tuple[Doubles, Doubles, torch.Tensor, torch.Tensor]:
        """Embeddings of all pictures with new nodes behind them, and of the tags; the pictures' last states
        and the tags' last but one. near: cosines [m, n], 0 where there is no edge; told: weights [m, tags].
        """
        num = len(self.ids)
        if len(features):
            all_features = np.concatenate([self._features, features.astype(np.float64)])
            near, told = np.concatenate([self._near, near]), np.concatenate([self._told, told])
        else:
            all_features, near, told = self._features, self._near, self._told
        heat = np.exp(self._how.weights.similar_temperature * near) * (near != 0)
        similar = torch.from_numpy(_rows_that_sum_to_one(heat))
        carried = torch.from_numpy(_rows_that_sum_to_one(told))
        carriers = torch.from_numpy(_rows_that_sum_to_one((self._told > 0).T.astype(np.float64)))
        related = torch.from_numpy(self._related)
        images = [self._model.input_images(torch.from_numpy(all_features))]
        tags = [self._start]
        for layer in range(1, self._model.num_layers + 1):
            senders = images[-1][:num]
            after = self._model.image_layer(layer, images[-1], similar @ senders, carried @ tags[-1])
            tags.append(self._model.tag_layer(layer, tags[-1], carriers @ senders, related @ tags[-1]))
            images.append(after)
        embedded: Doubles = self._model.embed_images(images).numpy()
        meant: Doubles = self._model.embed_tags(tags).numpy()
        return embedded, meant, images[-1], tags[-2]

    def _neighbours(self, spaced: Doubles, own: int | None) -> Doubles:
        """[n]: the cosines of the nearest pictures of the snapshot but itself, 0 elsewhere."""
        cosines = self._spaced @ spaced
        # Equal pictures come in the order of their rows, whatever the last digits say.
        order = np.lexsort((np.arange(len(cosines)), -cosines.round(9)))
        order = order[order != own][: self._how.graph.neighbours]
        near = np.zeros(len(cosines))
        near[order] = cosines[order] * (cosines[order] >= self._how.graph.threshold)
        return near

    def _new(self, picture: Picture) -> Doubles:
        spaced: Doubles = self._space(picture.features[None].astype(np.float64))[0].astype(np.float64)
        return spaced

    def _meant(self, tags: Mapping[str, float]) -> Doubles:
        """[tags]: weights over the snapshot's tags; a new name counts as those nearest to it in meaning."""
        told = np.zeros(len(self.tags))
        for name, weight in tags.items():
            for edge in self._words.tag(name):
                told[edge.tag] += weight * edge.weight
        return told

    def _chance(self, tags: Mapping[str, float]) -> Doubles:
        """[tags]: the chance that each tag of the snapshot is among those that are meant."""
        chance = np.zeros(len(self.tags))
        for name in tags:
            for edge in self._words.tag(name):
                chance[edge.tag] += edge.chance
        return np.minimum(chance, 1.0)

    def _tag_rows(self, carried: Sequence[Mapping[str, float]]) -> Doubles:
        told = np.zeros((len(carried), len(self.tags)))
        for row, tags in enumerate(carried):
            for name, weight in tags.items():
                told[row, self._number[name]] = weight
        return told

    def _prototypes(self) -> Doubles:
        """[tags, dim]: what pictures with a tag look like on average."""
        means = (self._told > 0).T.astype(np.float64) @ self._features
        unit: Doubles = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return unit


def _dense(csr: Any) -> Doubles:
    matrix = np.zeros((csr.num_rows, csr.num_rows))
    for row in range(csr.num_rows):
        indices, weights = csr.row(row)
        matrix[row, indices] = weights
    return matrix


def _rows_that_sum_to_one(weights: Doubles) -> Doubles:
    sums = weights.sum(axis=1, keepdims=True)
    shares: Doubles = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
    return shares
