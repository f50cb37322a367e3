"""The objective of preset `graph-rise`: classify over tags, and keep joined images together.

    L = Σ_u CE(x_u, y_u) + α Σ_(u,v) w_uv d(φ(x_u), φ(x_v))          Juan et al., WSDM 2020, Eq. 1

CE is a sampled softmax over tag nodes (full while the vocabulary is small), one positive a true tag; φ is the
embedding of an image; w_uv are the `similar` edges' weights. The images are trained as query views
(:mod:`gnn.objectives.query_views`) and as what they are in the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gnn.evaluation.metrics import ideal_gains, ndcg_at_k, ranked_gains
from gnn.evaluation.relevance import TagTable, jaccard_gains
from gnn.losses import sampled_softmax
from gnn.model.edge_weights import MessageWeights, message_graph
from gnn.model.minibatch import batch_states
from gnn.model.rise_sage import RiseSage
from gnn.objectives.holdout import drawn_images, hold_out
from gnn.objectives.query_views import kept_tags, with_views
from gnn.objectives.rank_consistency import rank_consistency
from gnn.objectives.regularity import graph_regularity
from gnn.parallel import Team
from gnn.sampling.blocks import BlockSampler
from gnn.sampling.negatives import NegativeSampler
from gnn.trainer import step_generator
from graph_store.arrays import AnyArray, Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.errors import BadInput
from graph_store.graph import Graph

_VALIDATED_AGAINST = 4000


@dataclass(frozen=True)
class RiseObjectiveConfig:
    """``alpha``: weight of the graph regularisation, over ``regularised`` sampled neighbours an image;
    ``ranking``: weight of the rank-consistency loss. ``candidates``: tags that a softmax is taken over; all
    where there are no more.
    """

    alpha: float = 0.1
    normaliser: Literal["edges", "degree"] = "edges"
    ranking: float = 1.0
    regularised: int = 1
    candidates: int = 1024
    temperature: float = 0.1
    ranking_temperature: float = 0.1
    ranking_sharpness: float = 8.0
    fan_outs: tuple[int, ...] = (20, 10)
    batch_size: int = 512
    validation_share: float = 0.1
    validation_limit: int = 500
    seed: int = 0

    def held_out(self, tags_of_image: Csr) -> Int64Array:
        """The images that the objective holds out."""
        limit = self.validation_limit if self.validation_share > 0 else 0
        return drawn_images(tags_of_image, self.validation_share, limit, step_generator(self.seed, 0, 0))


class GraphRiseObjective:
    """An :class:`gnn.trainer.Objective`. The metric is nDCG@5 of held-out images, attached by their `similar`
    edges only, among the tagged ones (at most 4,000), with the Jaccard similarity of tags as gain.

    x: [num_images, feature_dim] on the model's device. The graph's weights are the stored ones. given: the
    catalogue's tags, where the graph's have been judged, without those of the images that are held out:
    relevance is by them. BadInput when no image has a tag.
    """

    monitor = "ndcg_at_5"

    def __init__(
        self,
        model: RiseSage,
        graph: Graph,
        x: Tensor,
        how: MessageWeights,
        config: RiseObjectiveConfig,
        team: Team | None = None,
        given: Csr | None = None,
    ) -> None:
        if graph.tags_of_image.num_edges == 0:
            raise BadInput(
                "there is nothing to classify: no image has a tag", hint="Add tags and ingest again."
            )
        self.model = model
        self.x = x
        self.config = config
        self.team = team or Team()
        self.how = how
        given = graph.tags_of_image if given is None else given
        holdout = hold_out(graph, config.held_out(given), given)
        self.held_images, self.hidden = holdout.images, holdout.hidden
        self.graph = holdout.graph
        self.messages = message_graph(self.graph, how)
        self.truth = TagTable.from_csr(self.graph.tags_of_image, graph.num_tags)
        self.given = given
        self.learnt = np.flatnonzero(self.graph.tags_of_image.degrees()).astype(np.int64)
        self.carried = self.truth.counts() / max(len(self.learnt), 1)
        self.negatives = NegativeSampler(self.graph.images_of_tag.degrees())
        self._epoch: tuple[int, BlockSampler] | None = None

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()

    def state_dict(self) -> Mapping[str, Tensor]:
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> Any:
        return self.model.load_state_dict(state)

    def num_steps(self, epoch: int) -> int:
        return -(-len(self.learnt) // self.config.batch_size)

    def loss(self, epoch: int, step: int) -> Tensor:
        self.model.train()
        config, num = self.config, self.graph.num_images
        # Step 0 of epoch 0 drew the holdout, so the orders start one further on.
        order = step_generator(config.seed, epoch + 1, 0).permutation(self.learnt)
        rng = step_generator(config.seed, epoch + 1, step + 1)
        batch = order[step * config.batch_size : (step + 1) * config.batch_size]
        near, weights = self._neighbours(batch, rng) if config.alpha > 0 else (batch[:0], None)
        tags, log_q = self._candidates(batch, rng)
        # Views of the batch, the batch as indexed, and views of its neighbours.
        nodes, place = np.unique(np.concatenate([batch + num, batch, near + num]), return_inverse=True)
        sampler = self._sampler(epoch)
        images, tag_vectors = self.team.embedded(
            nodes, tags, rng, lambda *part: self._embed(part[0], part[1], sampler, part[2])
        )
        found = images[torch.from_numpy(place).to(images.device)]
        size = len(batch)
        views, indexed, others = found[:size], found[size : 2 * size], found[2 * size :]
        total = self._classification(batch, views, tags, tag_vectors, log_q)
        total = total + self._classification(batch, indexed, tags, tag_vectors, log_q)
        if weights is not None:
            spread = graph_regularity(
                views, others.reshape(size, config.regularised, -1), weights, config.normaliser
            )
            total = total + config.alpha * spread
        if config.ranking > 0:
            total = total + config.ranking * self._ranking(batch, views, indexed)
        return total

    def _sampler(self, epoch: int) -> BlockSampler:
        """Over this epoch's views: which tags they lack is drawn anew each time."""
        if self._epoch is None or self._epoch[0] != epoch:
            graph = self.graph
            kept = kept_tags(graph.tags_of_image, step_generator(self.config.seed, epoch + 1, _VIEWS))
            sampler = BlockSampler(
                message_graph(with_views(graph, kept), self.how),
                self.config.fan_outs,
                compact_images=True,
                compact_tags=graph.num_tags > _WHOLE_TAG_TABLE,
            )
            self._epoch = epoch, sampler
        return self._epoch[1]

    def _embed(
        self, images: Int64Array, tags: Int64Array, sampler: BlockSampler, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        batch = sampler.sample(images, tags, rng)
        assert batch.input_images is not None
        # A view has the features of its image.
        batch = replace(batch, input_images=batch.input_images % self.graph.num_images)
        text = self.x.new_zeros(self.graph.num_tags, 0)
        states = batch_states(self.model, batch, self.x, text)
        return self.model.meaning(states.images), self.model.meaning(states.tags)

    def _neighbours(self, batch: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, Tensor]:
        """`regularised` = r neighbours of each, [size * r], drawn with P(v) = w_uv / D_u out of all, and what
        each draw weighs, [size, r]: D_u / r, with D_u = Σ_v w_uv; 0 where an image has none.

        A node's sum over its draws is then that over its edges, E Σ_j (D_u / r) d_uj = Σ_v w_uv d_uv, and the
        weights of its draws add up to D_u whatever was drawn. So both normalisers of
        :func:`gnn.objectives.regularity.graph_regularity` are those of all edges of the batch.
        """
        count = self.config.regularised
        similar = self.graph.similar.take(batch)
        first, degrees = similar.indptr[:-1], similar.degrees()
        drawn = rng.random((len(batch), count))
        if similar.num_edges == 0:
            return np.repeat(batch, count), self.x.new_zeros(len(batch), count)
        cumulated = np.cumsum(np.maximum(similar.weights, 0), dtype=np.float64)
        ends = np.concatenate([[0.0], cumulated])[similar.indptr]
        totals = np.diff(ends)
        # side="right" skips edges of no weight; rounding may put a draw past the end of its row.
        edges = np.searchsorted(cumulated, ends[:-1, None] + drawn * totals[:, None], side="right")
        edges = np.clip(edges, first[:, None], (first + np.maximum(degrees - 1, 0))[:, None])
        near = np.where(totals[:, None] > 0, similar.indices.take(edges, mode="clip"), batch[:, None])
        weights = np.repeat((totals / count)[:, None], count, axis=1).astype(np.float32)
        return near.ravel(), torch.from_numpy(weights).to(self.x.device)

    def _candidates(self, batch: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, Tensor | None]:
        """Tags to tell apart, sorted, and the log of each one's chance to be among them; None = all.

        The true tags of the batch are always among them, beside those that are drawn, so

            q_t = 1 - (1 - p_t)^candidates · (1 - f_t)^batch,

        f_t the share of the learnt images that carry tag t, p_t its chance in a draw.
        """
        count = self.config.candidates
        if self.graph.num_tags <= count:
            return np.arange(self.graph.num_tags, dtype=np.int64), None
        true = self.truth.matrix[batch].indices.astype(np.int64)
        tags = np.unique(np.concatenate([true, self.negatives.sample(count, rng)]))
        log_q = self.negatives.log_chosen(tags, count, self.carried[tags], len(batch))
        return tags, torch.from_numpy(log_q).to(self.x.device)

    def _classification(
        self, batch: Int64Array, images: Tensor, tags: Int64Array, vectors: Tensor, log_q: Tensor | None
    ) -> Tensor:
        """Sampled softmax of each true tag of each image against the candidates that are not true."""
        truth = self.truth.matrix[batch]
        rows = torch.from_numpy(np.repeat(np.arange(len(batch)), np.diff(truth.indptr)))
        columns = torch.from_numpy(np.searchsorted(tags, truth.indices))
        correction = images.new_zeros(len(tags)) if log_q is None else log_q
        return sampled_softmax(
            images,
            vectors,
            correction,
            rows.to(images.device),
            columns.to(images.device),
            self.config.temperature,
        )

    def _ranking(self, batch: Int64Array, views: Tensor, indexed: Tensor) -> Tensor:
        """Each view ranks the other images of the batch, as they are indexed."""
        relevance = jaccard_gains(self.truth.rows(batch), self.truth.rows(batch))
        others = ~torch.eye(len(batch), dtype=torch.bool, device=views.device)
        shape = len(batch), max(len(batch) - 1, 0)
        wanted = torch.from_numpy(np.asarray(relevance, dtype=np.float32)).to(views.device)
        return rank_consistency(
            (views @ indexed.T)[others].reshape(shape),
            wanted[others].reshape(shape),
            self.config.ranking_temperature,
            self.config.ranking_sharpness,
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``ndcg_at_5`` in [0, 1]; 0 when nothing is held out."""
        if self.held_images.size == 0 or not len(self.learnt):
            return {self.monitor: 0.0}
        self.model.eval()
        rng = step_generator(self.config.seed, 0, 1)
        index = self.learnt
        if len(index) > _VALIDATED_AGAINST:
            index = np.sort(rng.choice(index, _VALIDATED_AGAINST, replace=False))
        fan_outs = tuple(max(each, 20) for each in self.config.fan_outs)
        sampler = BlockSampler(self.messages, fan_outs, compact_images=True)
        held = self._embed_all(self.held_images, sampler, rng)
        indexed = self._embed_all(index, sampler, rng)
        truth, known = (
            TagTable.from_csr(tags, self.graph.num_tags) for tags in (self.hidden, self.given.take(index))
        )
        gains = jaccard_gains(truth, known)
        values = ndcg_at_k(ranked_gains(held @ indexed.T, gains, 5), ideal_gains(gains, 5), 5)
        return {self.monitor: float(np.nanmean(values)) if np.isfinite(values).any() else 0.0}

    def _embed_all(self, images: Int64Array, sampler: BlockSampler, rng: np.random.Generator) -> Float32Array:
        nothing = np.zeros(0, dtype=np.int64)
        parts = [
            self._embed(images[start : start + 512], nothing, sampler, rng)[0].cpu().numpy()
            for start in range(0, len(images), 512)
        ]
        stacked: AnyArray = np.concatenate(parts)
        return stacked


# The step number of the draw of an epoch's views; no epoch has so many steps.
_VIEWS = 2**31
# Up to this many tags, input states of all are made each step; that is cheaper than listing those needed.
_WHOLE_TAG_TABLE = 10_000
