"""The unsupervised objective of preset `paper`: nodes that meet on random walks should lie close together.

Misraa et al. 2020 train GraphSAGE with the random-walk loss of Hamilton et al. 2017 (Eq. 1). A step takes a
batch of images, walks from each over images and tags, and pairs the start with one node of its walk.
Negatives are drawn in proportion to degree^0.75 among nodes of the target's own type (a tag competes with
tags) and are shared by the batch; those linked with the source do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gnn.losses import random_walk_loss
from gnn.model.base import GraphModel
from gnn.model.edge_weights import MessageWeights, message_graph
from gnn.model.minibatch import batch_states
from gnn.objectives.holdout import drawn_images, hold_out
from gnn.parallel import Team
from gnn.sampling.blocks import BlockSampler
from gnn.sampling.negatives import NegativeSampler, accidental_hits
from gnn.sampling.nodes import LinkSet, node_degrees
from gnn.sampling.walks import Pairs, RandomWalker, pairs_from_start
from gnn.trainer import step_generator
from graph_store.arrays import AnyArray, Int64Array
from graph_store.csr import Csr
from graph_store.errors import BadInput
from graph_store.graph import Graph


@dataclass(frozen=True)
class RandomWalkConfig:
    """The defaults are those of preset `paper` (design, §3). ``fan_outs`` are counted from the seeds.

    ``validation_share`` of the tagged images, at most ``validation_limit``, have their tags hidden from
    training; 0 trains on everything and leaves no metric to stop by.
    """

    fan_outs: tuple[int, ...] = (25, 10)
    max_degree: int = 100
    negatives: int = 20
    batch_size: int = 512
    walk_length: int = 5
    temperature: float = 1.0
    validation_share: float = 0.05
    validation_limit: int = 1000
    seed: int = 0

    def held_out(self, tags_of_image: Csr) -> Int64Array:
        """The images that the objective holds out."""
        limit = self.validation_limit if self.validation_share > 0 else 0
        return drawn_images(tags_of_image, self.validation_share, limit, step_generator(self.seed, 0, 0))


class Embedded(NamedTuple):
    """Unit-norm embeddings: ``images`` [n, dim], ``tags`` [t, dim]."""

    images: Tensor
    tags: Tensor


class RandomWalkObjective:
    """An :class:`gnn.trainer.Objective`. The metric is the mean reciprocal rank of a held-out image's best
    true tag among all tags, the image being attached by its `similar` edges only.

    x: [num_images, feature_dim] and tag_text: [num_tags, text_dim] on the model's device. The graph's weights
    are the stored ones; they are prepared here. given: the catalogue's tags, where the graph's have been
    judged, without those of the images that are held out. BadInput when the graph has no edge to learn from.
    """

    monitor = "tag_mrr"

    def __init__(
        self,
        model: GraphModel,
        graph: Graph,
        x: Tensor,
        tag_text: Tensor,
        config: RandomWalkConfig,
        team: Team | None = None,
        given: Csr | None = None,
    ) -> None:
        if graph.similar.num_edges + graph.tags_of_image.num_edges == 0:
            raise BadInput(
                "there is nothing to learn from: no image has a similar image or a tag",
                hint="Add images or tags, or lower the similarity threshold.",
            )
        self.model = model
        self.x = x
        self.tag_text = tag_text
        self.config = config
        self.team = team or Team()
        given = graph.tags_of_image if given is None else given
        holdout = hold_out(graph, config.held_out(given), given)
        self.held_images, self.hidden = holdout.images, holdout.hidden
        self.graph = holdout.graph
        weights = MessageWeights(tags="proportional", max_degree=config.max_degree, seed=config.seed)
        self.sampler = BlockSampler(
            message_graph(self.graph, weights),
            config.fan_outs,
            compact_images=not model.images_enter_raw,
            compact_tags=graph.num_tags > _WHOLE_TAG_TABLE,
        )
        self.walker = RandomWalker(self.graph)
        self.links = LinkSet(self.graph)
        degrees = node_degrees(self.graph)
        self.image_negatives = NegativeSampler(degrees[: graph.num_images])
        self.tag_negatives = NegativeSampler(degrees[graph.num_images :]) if graph.num_tags else None

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()

    def state_dict(self) -> Mapping[str, Tensor]:
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> Any:
        return self.model.load_state_dict(state)

    def num_steps(self, epoch: int) -> int:
        return -(-self.graph.num_images // self.config.batch_size)

    def loss(self, epoch: int, step: int) -> Tensor:
        self.model.train()
        size = self.config.batch_size
        # Step 0 of epoch 0 drew the holdout, so the orders start one further on.
        order = step_generator(self.config.seed, epoch + 1, 0).permutation(self.graph.num_images)
        rng = step_generator(self.config.seed, epoch + 1, step + 1)
        starts = order[step * size : (step + 1) * size].astype(np.int64)
        pairs = pairs_from_start(self.walker.walk(starts, self.config.walk_length, rng), rng)
        to_tag = pairs.target >= self.graph.num_images
        drawn_images = self.image_negatives.sample(self.config.negatives, rng)
        drawn_tags = self._draw_tags(rng)
        lookup = self._embed_nodes(np.concatenate([*pairs, drawn_images, drawn_tags]), rng)
        total = self.x.new_zeros(())
        for chosen, negatives in ((~to_tag, drawn_images), (to_tag, drawn_tags)):
            part = Pairs(pairs.source[chosen], pairs.target[chosen])
            total = total + len(part.source) * self._pair_loss(part, negatives, lookup)
        return total / max(len(pairs.source), 1)

    def _draw_tags(self, rng: np.random.Generator) -> Int64Array:
        if self.tag_negatives is None:
            return np.zeros(0, dtype=np.int64)
        return self.tag_negatives.sample(self.config.negatives, rng) + self.graph.num_images

    def _pair_loss(self, pairs: Pairs, negatives: Int64Array, lookup: _Lookup) -> Tensor:
        hits = torch.from_numpy(accidental_hits(pairs, negatives, self.links)).to(self.x.device)
        return random_walk_loss(
            lookup(pairs.source), lookup(pairs.target), lookup(negatives), hits, self.config.temperature
        )

    def _embed_nodes(self, nodes: Int64Array, rng: np.random.Generator) -> _Lookup:
        """Embed the distinct ones among ``nodes`` (joint numbering)."""
        distinct = np.unique(nodes)
        split = int(np.searchsorted(distinct, self.graph.num_images))
        tags = distinct[split:] - self.graph.num_images
        return _Lookup(distinct, torch.cat(self.team.embedded(distinct[:split], tags, rng, self.embed)))

    def embed(self, images: Int64Array, tags: Int64Array, rng: np.random.Generator) -> Embedded:
        """Embeddings of image and tag ids from sampled neighbourhoods."""
        states = batch_states(self.model, self.sampler.sample(images, tags, rng), self.x, self.tag_text)
        return Embedded(self.model.embed_images(states.images), self.model.embed_tags(states.tags))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``tag_mrr`` in [0, 1]; 0 when nothing is held out."""
        if self.held_images.size == 0:
            return {self.monitor: 0.0}
        self.model.eval()
        rng = step_generator(self.config.seed, 0, 1)
        nothing = np.zeros(0, dtype=np.int64)
        every_tag = np.arange(self.graph.num_tags, dtype=np.int64)
        tags = torch.cat([self.embed(nothing, part, rng).tags for part in _chunks(every_tag)])
        images = torch.cat([self.embed(part, nothing, rng).images for part in _chunks(self.held_images)])
        return {self.monitor: best_reciprocal_rank((images @ tags.T).cpu().numpy(), self._truth())}

    def _truth(self) -> AnyArray:
        truth = np.zeros((len(self.held_images), self.graph.num_tags), dtype=np.bool_)
        truth[self.hidden.edge_rows(), self.hidden.indices] = True
        return truth


# Up to this many tags, input states of all are made each step; that is cheaper than listing those needed.
_WHOLE_TAG_TABLE = 10_000


class _Lookup:
    """Rows of an embedding matrix by node id; ``nodes`` is sorted."""

    def __init__(self, nodes: Int64Array, vectors: Tensor) -> None:
        self.nodes = nodes
        self.vectors = vectors

    def __call__(self, wanted: Int64Array) -> Tensor:
        places = torch.from_numpy(np.searchsorted(self.nodes, wanted))
        return self.vectors[places.to(self.vectors.device)]


def best_reciprocal_rank(scores: AnyArray, truth: AnyArray) -> float:
    """Mean over rows of 1 / (rank of the best-scored true column). Ties count against it.

    scores: [n, m] finite; truth: [n, m] bool with at least one true column a row.
    """
    best = np.where(truth, scores, -np.inf).max(axis=1, keepdims=True)
    ranks = 1 + ((scores >= best) & ~truth).sum(axis=1)
    return float(np.mean(1.0 / ranks))


def _chunks(ids: Int64Array, size: int = 512) -> list[Int64Array]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]
