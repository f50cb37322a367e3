"""Layer-wise embedding of every node: each layer once over all nodes, by blocks of rows.

No neighbourhood is ever expanded: layer l of a block reads layer l-1 of whatever it receives from. The cost
is one pass over the edges a layer, and memory is one block beside arrays that may live in files.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gnn.model.aggregate import weighted_mean
from gnn.model.base import GraphModel
from graph_store.array_files import new_mapped_array
from graph_store.arrays import Float32Array, Int64Array
from graph_store.graph import Graph
from graph_store.mapped_pages import release, streamed
from graph_store.progress import Advance, Progress, SilentProgress

BLOCK = 8192

NewArray = Callable[[str, tuple[int, int]], Float32Array]
"""Makes a writable float32 array of a name and shape: in memory, or mapped to a file of a snapshot."""


def in_memory(name: str, shape: tuple[int, int]) -> Float32Array:
    """The simplest NewArray."""
    del name
    return np.zeros(shape, dtype=np.float32)


def mapped_in(folder: Path) -> NewArray:
    """A NewArray whose arrays are mapped to files of a folder."""
    return lambda name, shape: new_mapped_array(folder / f"{name}.npy", shape)


@dataclass(frozen=True, eq=False)
class GraphStates:
    """image_states: h^0..h^(L-1) of the images, all that a query may receive; tag_states likewise.

    embeddings: [num_images, dim]; tag_embeddings: [num_tags, dim].
    """

    image_states: tuple[Float32Array, ...]
    tag_states: tuple[Float32Array, ...]
    embeddings: Float32Array
    tag_embeddings: Float32Array


@dataclass(frozen=True, eq=False)
class Layers:
    """h^0..h^(L-1) of the images; h^0..h^L of the tags."""

    images: tuple[Float32Array, ...]
    tags: tuple[Tensor, ...]


def embed_graph(
    model: GraphModel,
    messages: Graph,
    features: Float32Array,
    tag_text: Float32Array,
    tag_ids: Int64Array,
    new_array: NewArray = in_memory,
    progress: Progress | None = None,
) -> GraphStates:
    """messages: the graph with normalised weights; features: [num_images, feature_dim]; tag_text: [num_tags,
    text_dim]; tag_ids: [num_tags] the model's number of each tag, -1 for one it has not seen.
    """
    num = messages.num_images
    with (progress or SilentProgress()).phase("embed", num * (model.num_layers + 1)) as advance:
        layers = run_layers(model, messages, features, tag_text, tag_ids, new_array, advance)
        embeddings = new_array("embeddings", (num, model.dim))
        # Of the last of these states each image hears from others, anywhere; the rest is read once.
        for start, stop in streamed(num, BLOCK, embeddings, *layers.images[:-1]):
            states = image_states(model, messages, layers, start, stop)
            with torch.no_grad():
                embeddings[start:stop] = model.embed_images(states).numpy()
            advance(stop - start)
        release(*layers.images[-1:])
    tag_embeddings = new_array("tag_embeddings", (messages.num_tags, model.dim))
    with torch.no_grad():
        tag_embeddings[:] = model.embed_tags(layers.tags).numpy()
    kept = tuple(state.numpy() for state in layers.tags[: model.num_layers])
    return GraphStates(layers.images, kept, embeddings, tag_embeddings)


@torch.no_grad()
def run_layers(
    model: GraphModel,
    messages: Graph,
    features: Float32Array,
    tag_text: Float32Array,
    tag_ids: Int64Array,
    new_array: NewArray = in_memory,
    advance: Advance = lambda _: None,
) -> Layers:
    """All layers that other nodes receive from; arguments as for `embed_graph`."""
    model.eval()
    num = messages.num_images
    tags = [model.input_tags(as_tensor(tag_text), as_tensor(tag_ids))]
    images = [features if model.images_enter_raw else new_array("image_0", (num, model.image_dim(0)))]
    for start, stop in streamed(num, BLOCK, features, images[0]):
        if not model.images_enter_raw:
            images[0][start:stop] = model.input_images(as_tensor(features[start:stop])).numpy()
        advance(stop - start)
    for layer in range(1, model.num_layers + 1):
        tags.append(tag_rows(model, messages, layer, images[layer - 1], tags[layer - 1]))
        if layer < model.num_layers:
            images.append(new_array(f"image_{layer}", (num, model.image_dim(layer))))
            for start, stop in streamed(num, BLOCK, images[layer]):
                below = images[layer - 1], tags[layer - 1]
                images[layer][start:stop] = image_rows(model, messages, layer, *below, start, stop).numpy()
                advance(stop - start)
            release(images[layer - 1])
    return Layers(tuple(images), tuple(tags))


@torch.no_grad()
def image_states(model: GraphModel, messages: Graph, layers: Layers, start: int, stop: int) -> list[Tensor]:
    """h^0..h^L of the images start..stop."""
    top = model.num_layers
    last = image_rows(model, messages, top, layers.images[top - 1], layers.tags[top - 1], start, stop)
    return [*(as_tensor(each[start:stop]) for each in layers.images), last]


def image_rows(
    model: GraphModel,
    messages: Graph,
    layer: int,
    images: Float32Array,
    tags: Tensor,
    start: int,
    stop: int,
) -> Tensor:
    """h^layer of the images start..stop, from h^(layer-1) of all images and all tags."""
    below = as_tensor(images)
    return model.image_layer(
        layer,
        below[start:stop],
        weighted_mean(messages.similar, below, start, stop),
        weighted_mean(messages.tags_of_image, tags, start, stop),
    )


def some_image_rows(
    model: GraphModel, messages: Graph, layer: int, images: Float32Array, tags: Tensor, rows: Int64Array
) -> Tensor:
    """h^layer of the images `rows` [n], from h^(layer-1) of all images and all tags."""
    below = as_tensor(images)
    return model.image_layer(
        layer,
        as_tensor(np.ascontiguousarray(images[rows])),
        weighted_mean(messages.similar.take(rows), below),
        weighted_mean(messages.tags_of_image.take(rows), tags),
    )


def tag_rows(
    model: GraphModel,
    messages: Graph,
    layer: int,
    images: Float32Array,
    tags: Tensor,
    start: int = 0,
    stop: int | None = None,
) -> Tensor:
    """h^layer of the tags start..stop (all of them by default), from h^(layer-1) of all images and tags."""
    return model.tag_layer(
        layer,
        tags[start:stop],
        weighted_mean(messages.images_of_tag, as_tensor(images), start, stop),
        weighted_mean(messages.related, tags, start, stop),
    )


def blocks(num: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, num)) for start in range(0, num, BLOCK)]


def as_tensor(array: Float32Array | Int64Array) -> Tensor:
    """Shares memory. A read-only map is only ever read here, which torch cannot know and would warn of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
