"""Embedding after a change: only the nodes that it reaches, layer by layer.

An image's h^l has to be computed again when its own h^(l-1), one of its edges or weights, or what it hears of
a sender's h^(l-1) differs from before; everything else is copied. A state that comes out as it was, to 1e-6,
is left as it was and passes nothing on, so that errors do not add up over many changes. Tags are few and hear
of many images: their states are always computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gnn.embedding import BLOCK, GraphStates, NewArray, as_tensor, blocks, some_image_rows, tag_rows
from gnn.engines.engine import EmbeddingWork
from gnn.model.base import GraphModel
from graph_store.arrays import BoolArray, Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph
from graph_store.mapped_pages import copy_rows, release, streamed
from graph_store.progress import Progress

_SAME = 1e-6
_SAME_WEIGHT = 1e-7


@dataclass(frozen=True, eq=False)
class Before:
    """What an earlier embedding by the same model left. messages: its graph, with normalised weights;
    image_of: [num_images] the row there of each image of now, rising, -1 for one that is new or looks
    different; tag_of: [num_tags] likewise.
    """

    messages: Graph
    states: GraphStates
    image_of: Int64Array
    tag_of: Int64Array


@dataclass(frozen=True, eq=False)
class _Changed:
    """Which nodes' state of the last layer differs from before: `images` in any number, `heard` in those that
    the next layer hears.
    """

    images: BoolArray
    heard: BoolArray
    tags: BoolArray


@torch.no_grad()
def embed_changes(
    work: EmbeddingWork, before: Before, new_array: NewArray, progress: Progress
) -> tuple[GraphStates, Int64Array]:
    """What :func:`gnn.embedding.embed_graph` would give, and which images had to be embedded again."""
    model, messages = work.trained.model.eval(), work.messages
    rows = _rows_differ(messages.similar, before.messages.similar, before.image_of, before.image_of)
    rows |= _rows_differ(
        messages.tags_of_image, before.messages.tags_of_image, before.image_of, before.tag_of
    )
    tags = [model.input_tags(as_tensor(work.tag_text), as_tensor(work.tag_numbers))]
    tags[0], tags_differ = _settled(tags[0], before.states.tag_states[0], before.tag_of)
    images, fresh = [_entering(work, before, new_array)], before.image_of < 0
    changed = _Changed(fresh, fresh, tags_differ)
    touched = fresh.copy()
    with progress.phase("embed", model.num_layers) as advance:
        for layer in range(1, model.num_layers + 1):
            stale = np.flatnonzero(rows | changed.images | _hearing(messages, changed))
            tags.append(tag_rows(model, messages, layer, images[-1], tags[-1]))
            if layer == model.num_layers:
                stale = np.flatnonzero(_marked(stale, len(touched)) | touched)
                embeddings = _embedded(model, messages, images, tags[-2], stale, before, new_array)
            else:
                tags[-1], tags_differ = _settled(tags[-1], before.states.tag_states[layer], before.tag_of)
                state, differs, heard = _next(model, messages, images, tags[-2], stale, before, new_array)
                images.append(state)
                changed = _Changed(differs, heard, tags_differ)
                touched |= differs
            advance(1)
    release(*images)
    tag_embeddings = new_array("tag_embeddings", (messages.num_tags, model.dim))
    tag_embeddings[:] = model.embed_tags(tags).numpy()
    kept = tuple(state.numpy() for state in tags[: model.num_layers])
    return GraphStates(tuple(images), kept, embeddings, tag_embeddings), stale


def _entering(work: EmbeddingWork, before: Before, new_array: NewArray) -> Float32Array:
    """h^0 of the images: it depends on their features only."""
    model, features = work.trained.model, work.features
    if model.images_enter_raw:
        return features
    state = new_array("image_0", (len(features), model.image_dim(0)))
    copy_rows(before.states.image_states[0], before.image_of, state)
    fresh = np.flatnonzero(before.image_of < 0)
    for start, stop in blocks(len(fresh)):
        part = fresh[start:stop]
        state[part] = model.input_images(as_tensor(np.ascontiguousarray(features[part]))).numpy()
    return state


def _next(
    model: GraphModel,
    messages: Graph,
    images: Sequence[Float32Array],
    tags: Tensor,
    stale: Int64Array,
    before: Before,
    new_array: NewArray,
) -> tuple[Float32Array, BoolArray, BoolArray]:
    """The next state of all images; which of them differ, and which in what the layer after it hears."""
    layer = len(images)
    old = before.states.image_states[layer]
    state = new_array(f"image_{layer}", (messages.num_images, model.image_dim(layer)))
    copy_rows(old, before.image_of, state)
    differs, heard = _marked(stale, len(state)), np.zeros(len(state), dtype=np.bool_)
    for start, stop in blocks(len(stale)):
        part = stale[start:stop]
        found = some_image_rows(model, messages, layer, images[-1], tags, part).numpy()
        # Asked in this way, since what is no number is not alike: the old state must not stay there.
        apart = (before.image_of[part] < 0)[:, None] | ~(np.abs(found - state[part]) <= _SAME)
        differs[part] = apart.any(axis=1)
        heard[part] = apart[:, model.heard(layer + 1)].any(axis=1)
        new = differs[part]
        state[part[new]] = found[new]
    return state, differs, heard


def _embedded(
    model: GraphModel,
    messages: Graph,
    images: Sequence[Float32Array],
    tags: Tensor,
    stale: Int64Array,
    before: Before,
    new_array: NewArray,
) -> Float32Array:
    embeddings = new_array("embeddings", (messages.num_images, model.dim))
    copy_rows(before.states.embeddings, before.image_of, embeddings)
    for start, stop in streamed(len(stale), BLOCK, embeddings, *images[:-1]):
        part = stale[start:stop]
        last = some_image_rows(model, messages, len(images), images[-1], tags, part)
        below = [as_tensor(np.ascontiguousarray(state[part])) for state in images]
        embeddings[part] = model.embed_images([*below, last]).numpy()
    return embeddings


def _settled(states: Tensor, old: Float32Array, old_of: Int64Array) -> tuple[Tensor, BoolArray]:
    """States of tags, those that came out alike as they were before; and which did not."""
    settled = states.numpy().copy()
    known = np.flatnonzero(old_of >= 0)
    was = np.asarray(old)[old_of[known]]
    alike = (np.abs(settled[known] - was) <= _SAME).all(axis=1)
    settled[known[alike]] = was[alike]
    differs = np.ones(len(settled), dtype=np.bool_)
    differs[known[alike]] = False
    return torch.from_numpy(settled), differs


def _hearing(messages: Graph, changed: _Changed) -> BoolArray:
    """Images that hear of a node that differs."""
    hearing = np.zeros(messages.num_images, dtype=np.bool_)
    for relation, senders in ((messages.similar, changed.heard), (messages.tags_of_image, changed.tags)):
        if senders.any():
            hearing[relation.edge_rows()[senders[relation.indices]]] = True
    return hearing


def _rows_differ(now: Csr, then: Csr, row_of: Int64Array, sender_of: Int64Array) -> BoolArray:
    """Rows with other senders or weights than before."""
    differ = np.ones(now.num_rows, dtype=np.bool_)
    known = np.flatnonzero(row_of >= 0)
    alike = known[now.degrees()[known] == then.degrees()[row_of[known]]]
    differ[alike] = False
    ours, theirs = now.take(alike), then.take(row_of[alike])
    apart = sender_of[ours.indices] != theirs.indices
    apart |= np.abs(ours.weights - theirs.weights) > _SAME_WEIGHT
    differ[alike[ours.edge_rows()[apart]]] = True
    return differ


def _marked(places: Int64Array, num: int) -> BoolArray:
    marked = np.zeros(num, dtype=np.bool_)
    marked[places] = True
    return marked
