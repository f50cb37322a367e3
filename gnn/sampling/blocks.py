"""Fixed fan-out blocks: what a training step needs of the graph, as dense rectangles.

A :class:`SampledBlock` is one relation seen from n receiving nodes: a rectangle of at most ``fan_out``
neighbours each, no wider than these nodes need. A :class:`MiniBatch` is L levels of such blocks, from the
seeds down to the input states. The rectangles go straight into ``embedding_bag``: gathering, weighting and
summing are one pass in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor
from torch.nn import functional

from gnn.sampling.neighbours import pick_neighbours
from gnn.tensors import to_tensor
from graph_store.arrays import BoolArray, Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.errors import BadInput
from graph_store.graph import Graph

# A scratch table over all nodes beats sorting the ids, until the graph is this many times the batch.
_SPARSE = 64


@dataclass(frozen=True, eq=False)
class SampledBlock:
    """One relation, sampled. ``seeds`` [n] are the receivers' global ids.

    ``neighbours`` [n, width] int64: rows of the senders' state matrix (0 where masked); ``weights``
    [n, width] float32: zero where masked, the rest of a row sums to one; ``mask``: true at real edges.
    """

    seeds: Int64Array
    neighbours: Int64Array
    weights: Float32Array
    mask: BoolArray

    def messages(self, states: Tensor) -> Tensor:
        """states [senders, d] → [n, d], the weighted mean of each row; zero where a row has no edges."""
        count = int(self.mask.sum())
        if count == 0:
            return states.new_zeros(len(self.seeds), states.shape[1])
        if count == self.mask.size:
            return functional.embedding_bag(
                to_tensor(self.neighbours, states.device),
                states,
                mode="sum",
                per_sample_weights=to_tensor(self.weights, states.device).to(states.dtype),
            )
        offsets = np.concatenate([[0], np.cumsum(self.mask.sum(axis=1))])
        return functional.embedding_bag(
            to_tensor(self.neighbours[self.mask], states.device),
            states,
            to_tensor(offsets, states.device),
            mode="sum",
            per_sample_weights=to_tensor(self.weights[self.mask], states.device).to(states.dtype),
            include_last_offset=True,
        )


def sample_block(csr: Csr, rows: Int64Array, fan_out: int, rng: np.random.Generator) -> SampledBlock:
    """Sample one relation with normalised weights. Neighbours are global ids.

    Where a row has more than ``fan_out`` edges, the weights of the sampled ones are scaled to sum to one
    again; shorter rows keep their weights bit for bit, so they give exactly the full message.
    """
    if csr.num_edges == 0:
        shape = (len(rows), fan_out)
        return SampledBlock(
            rows, np.zeros(shape, np.int64), np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
        )
    picks = pick_neighbours(csr, rows, fan_out, rng)
    # Plain arrays: what is taken from a memory map would be called one, though it is a copy.
    neighbours: Int64Array = np.asarray(csr.indices).take(picks.edges)
    weights: Float32Array = np.asarray(csr.weights).take(picks.edges)
    if not picks.mask.all():  # every masked place has read edge 0
        neighbours *= picks.mask
        weights *= picks.mask
    long = np.flatnonzero(csr.indptr[rows + 1] - csr.indptr[rows] > fan_out)
    if long.size:
        sums = weights[long].sum(axis=1, keepdims=True)
        weights[long] = np.where(sums > 0, weights[long] / np.where(sums > 0, sums, 1), 1 / fan_out)
    return SampledBlock(rows, neighbours, weights, picks.mask)


@dataclass(frozen=True, eq=False)
class Level:
    """One layer of a batch: its receiving nodes and their four blocks.

    ``images`` [n] and ``tags`` [t] are global ids, sorted for all levels below the top one.
    ``own_images`` [n] and ``own_tags`` [t] are the receivers' rows in the level below, and so are the blocks'
    neighbours. At the lowest level the level below is the table of all nodes, or the batch's input lists.
    """

    images: Int64Array
    tags: Int64Array
    own_images: Int64Array
    own_tags: Int64Array
    similar: SampledBlock
    tags_of_image: SampledBlock
    images_of_tag: SampledBlock
    related: SampledBlock


@dataclass(frozen=True, eq=False)
class MiniBatch:
    """``levels[0]`` is layer 1 (the widest), ``levels[-1]`` is layer L, whose nodes are the seeds.

    ``input_images`` and ``input_tags``: global ids of the input states that level 1 refers to, sorted; None
    means that it refers to the table of all nodes.
    """

    levels: tuple[Level, ...]
    input_images: Int64Array | None
    input_tags: Int64Array | None


class BlockSampler:
    """Draws mini-batches from a message graph (normalised weights, capped degrees).

    ``fan_outs`` are counted from the seeds: (25, 10) takes 25 neighbours of each seed and 10 of each of
    those, of every relation. ``compact_images``/``compact_tags``: list the distinct input nodes of a batch,
    for models whose input states cost something to make; else level 1 addresses the whole table by global
    id.
    """

    def __init__(
        self,
        graph: Graph,
        fan_outs: tuple[int, ...],
        compact_images: bool = False,
        compact_tags: bool = True,
    ) -> None:
        if not fan_outs or min(fan_outs) < 1:
            raise BadInput(f"fan-outs must be positive, one a layer, not {fan_outs}")
        self.graph = graph
        self.fan_outs = fan_outs
        self.compact_images = compact_images
        self.compact_tags = compact_tags

    def sample(self, images: Int64Array, tags: Int64Array, rng: np.random.Generator) -> MiniBatch:
        """A batch whose seeds are the given image and tag ids, in their order; repeats are allowed."""
        levels: list[Level] = []
        for depth, fan_out in enumerate(self.fan_outs):
            lowest = depth == len(self.fan_outs) - 1
            level, images, tags = self._level(
                images, tags, fan_out, rng, not lowest or self.compact_images, not lowest or self.compact_tags
            )
            levels.append(level)
        return MiniBatch(
            tuple(reversed(levels)),
            images if self.compact_images else None,
            tags if self.compact_tags else None,
        )

    def _level(
        self,
        images: Int64Array,
        tags: Int64Array,
        fan_out: int,
        rng: np.random.Generator,
        compact_images: bool,
        compact_tags: bool,
    ) -> tuple[Level, Int64Array, Int64Array]:
        """One level, and the image and tag ids of the level below."""
        similar = sample_block(self.graph.similar, images, fan_out, rng)
        tags_of_image = sample_block(self.graph.tags_of_image, images, fan_out, rng)
        images_of_tag = sample_block(self.graph.images_of_tag, tags, fan_out, rng)
        related = sample_block(self.graph.related, tags, fan_out, rng)
        below_images, own_images, (similar, images_of_tag) = _address(
            images, (similar, images_of_tag), self.graph.num_images, compact_images
        )
        below_tags, own_tags, (tags_of_image, related) = _address(
            tags, (tags_of_image, related), self.graph.num_tags, compact_tags
        )
        level = Level(images, tags, own_images, own_tags, similar, tags_of_image, images_of_tag, related)
        return level, below_images, below_tags


def _address(
    receivers: Int64Array, blocks: tuple[SampledBlock, SampledBlock], num_nodes: int, compact: bool
) -> tuple[Int64Array, Int64Array, tuple[SampledBlock, SampledBlock]]:
    """Make one node type's blocks refer to a sorted list of distinct nodes: (list, receivers' rows, blocks).

    Not compact: everything stays in global ids and the list is empty, since nobody reads it.
    """
    if not compact:
        return receivers[:0], receivers, blocks
    parts = [receivers, *(block.neighbours[block.mask] for block in blocks)]
    nodes, place = _distinct(parts, num_nodes)
    first, second = (
        replace(block, neighbours=np.where(block.mask, place(block.neighbours), 0)) for block in blocks
    )
    return nodes, place(receivers), (first, second)


def _distinct(
    parts: list[Int64Array], num_nodes: int
) -> tuple[Int64Array, Callable[[Int64Array], Int64Array]]:
    """The distinct ids of all parts, sorted, and the function from those ids to their place in that list."""
    if num_nodes > _SPARSE * sum(part.size for part in parts):
        nodes = np.unique(np.concatenate(parts))
        return nodes, lambda ids: np.searchsorted(nodes, ids).astype(np.int64)
    needed = np.zeros(num_nodes, dtype=np.bool_)
    for part in parts:
        needed[part] = True
    nodes = np.flatnonzero(needed)
    table = np.zeros(max(num_nodes, 1), dtype=np.int64)  # masked places look up id 0, node or not
    table[nodes] = np.arange(nodes.size)
    return nodes, lambda ids: table[ids]
