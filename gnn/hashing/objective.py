"""Learning the head of one code length, under the shared trainer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gnn.evaluation.metrics import ideal_gains, ndcg_at_k, ranked_gains
from gnn.evaluation.relevance import TagTable, jaccard_gains
from gnn.hashing.codes import CodeHead
from gnn.hashing.losses import balance_loss, centre_loss, label_loss, quantisation_loss, rank_list_loss
from gnn.trainer import step_generator
from graph_store.arrays import Float32Array, Int64Array


@dataclass(frozen=True)
class HashingConfig:
    """What was best on held-back views of the photos (docs/decisions/0004).

    ``list_length``: items that each query ranks in a step; ``temperature`` of the rank lists; ``noise``: norm
    of what is added to a vector of length one, so that a head cannot learn the views by heart; ``taught``:
    share of the vectors' own cosine in the order to be followed, the rest is label similarity. Labels alone
    say too little of images that share no tag. The rest are the weights of the losses beside the rank list.
    """

    batch_size: int = 256
    list_length: int = 512
    temperature: float = 0.1
    noise: float = 0.3
    taught: float = 0.5
    labels: float = 0.3
    centres: float = 0.3
    quantisation: float = 1.0
    balance: float = 1.0


@dataclass(frozen=True, eq=False)
class HashingData:
    """items: [n, dim] the index's inputs; views: [v, dim] the queries', of the images `rows`; tags: of all
    indexed images; trained, held: which views are learnt from and chosen by.
    """

    items: Float32Array
    views: Float32Array
    rows: Int64Array
    tags: TagTable
    trained: Int64Array
    held: Int64Array


class HashObjective:
    """An :class:`gnn.trainer.Objective`. `head` begins where it is given and holds what was learnt after.

    Its monitor is the mean of nDCG@10 with Jaccard gain and nDCG@100, on the held views, by plain Hamming
    distance: hard bits, as they are served.
    """

    monitor = "ndcg"

    def __init__(self, data: HashingData, start: CodeHead, config: HashingConfig, seed: int) -> None:
        self._data, self._config, self._seed = data, config, seed
        self._items, self._views = torch.from_numpy(data.items), torch.from_numpy(data.views)
        self._sizes = torch.from_numpy(data.tags.sizes().astype(np.float32))
        self.head = nn.Linear(*start.weight.shape)
        # Started so that a typical output is 1: neither flat nor saturated under tanh.
        typical = max(float(np.abs(start.outputs(data.items)).mean()), 1e-6)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(start.weight.T / typical))
            self.head.bias.copy_(torch.from_numpy(start.bias / typical))
        generator = torch.Generator().manual_seed(seed)
        bits, tags = start.bits, data.tags.num_tags
        self.labels = nn.Parameter(torch.randn(bits, tags, generator=generator) / np.sqrt(bits))
        self.centres = nn.Parameter(0.1 * torch.randn(tags, bits, generator=generator))
        self._gains = self._gains_of(data.held)
        self._ideals = {10: ideal_gains(self._gains, 10), 100: ideal_gains(self._gains, 100)}

    def parameters(self) -> Iterable[nn.Parameter]:
        """The head, and the two that only training needs."""
        return [*self.head.parameters(), self.labels, self.centres]

    def num_steps(self, epoch: int) -> int:
        """Batches of views; the last may be smaller."""
        del epoch
        return -(-len(self._data.trained) // self._config.batch_size)

    def loss(self, epoch: int, step: int) -> Tensor:
        """Rank lists, labels, centres, quantisation and balance."""
        config = self._config
        order = step_generator(self._seed, epoch, 0).permutation(self._data.trained)
        views = order[step * config.batch_size : (step + 1) * config.batch_size]
        asking = torch.from_numpy(self._data.rows[views])
        rng = step_generator(self._seed, epoch, step + 1)
        listed = torch.from_numpy(rng.permutation(len(self._items))[: config.list_length])
        views_asked, items_listed = self._views[torch.from_numpy(views)], self._items[listed]
        queries, items = self._soft(views_asked, rng), self._soft(items_listed, rng)
        tags_asking, tags_listed = self._tags_of(asking), self._tags_of(listed)
        shared = tags_asking @ tags_listed.T
        union = self._sizes[asking][:, None] + self._sizes[listed][None, :] - shared
        alike = (1 - config.taught) * shared / union.clamp_min(1.0)
        loss = rank_list_loss(
            queries,
            items,
            alike + config.taught * (views_asked @ items_listed.T),
            asking[:, None] == listed[None, :],
            config.temperature,
        )
        for codes, tags in ((queries, tags_asking), (items, tags_listed)):
            loss = loss + config.labels * label_loss(codes @ self.labels, tags)
            loss = loss + config.centres * centre_loss(codes, tags, self.centres)
            loss = loss + config.quantisation * quantisation_loss(codes)
        return loss + config.balance * balance_loss(items)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """nDCG@10 and nDCG@100 of the held views, and their mean."""
        return self.measured(self.code_head())

    def measured(self, head: CodeHead) -> dict[str, float]:
        """The same of any head."""
        held = self._data.held
        signs = [
            np.where(head.outputs(inputs) > 0, 1, -1).astype(np.float32)
            for inputs in (self._data.views[held], self._data.items)
        ]
        nearness = signs[0] @ signs[1].T
        nearness[np.arange(len(held)), self._data.rows[held]] = -np.inf
        found = {k: self._ndcg(nearness, k) for k in (10, 100)}
        return {"ndcg": (found[10] + found[100]) / 2, "ndcg_at_10": found[10], "ndcg_at_100": found[100]}

    def code_head(self) -> CodeHead:
        """What has been learnt so far."""
        weight, bias = self.head.weight.detach(), self.head.bias.detach()
        return CodeHead(np.ascontiguousarray(weight.numpy().T), bias.numpy().copy())

    def state_dict(self) -> Mapping[str, Tensor]:
        """The head, and the two that only training needs."""
        return {**self.head.state_dict(), "labels": self.labels, "centres": self.centres}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> Any:
        """The inverse of `state_dict`."""
        with torch.no_grad():
            self.labels.copy_(state["labels"])
            self.centres.copy_(state["centres"])
        return self.head.load_state_dict({name: state[name] for name in ("weight", "bias")})

    def _tags_of(self, images: Tensor) -> Tensor:
        """[len(images), t] 0/1, of the images of one step: of all, where tags are many, it is gigabytes."""
        return torch.from_numpy(self._data.tags.rows(images.numpy()).matrix.toarray().astype(np.float32))

    def _soft(self, inputs: Tensor, rng: np.random.Generator) -> Tensor:
        """Soft codes of inputs with noise of norm about `noise`."""
        shape = tuple(inputs.shape)
        noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(
            self._config.noise / shape[1] ** 0.5
        )
        result: Tensor = torch.tanh(self.head(inputs + torch.from_numpy(noise)))
        return result

    def _gains_of(self, held: Int64Array) -> Float32Array:
        """[held, n] Jaccard with every indexed image, nothing for the image itself."""
        rows = self._data.rows[held]
        gains = jaccard_gains(self._data.tags.rows(rows), self._data.tags)
        gains[np.arange(len(rows)), rows] = 0.0
        return gains

    def _ndcg(self, nearness: Float32Array, k: int) -> float:
        if not len(nearness):
            return 0.0
        each = ndcg_at_k(ranked_gains(nearness, self._gains, k), self._ideals[k], k)
        return float(np.nanmean(each)) if np.isfinite(each).any() else 0.0
