"""A layer cut into parts that any process can compute which sees the files.

A part reads the layer below, memory-mapped from a directory that all workers share, and writes its own rows
of the layer above. It depends on no other part of its layer and writes the same bytes whenever it is
computed, so a part whose worker died is simply computed again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gnn.embedding import Layers, as_tensor, blocks, image_rows, image_states, tag_rows
from gnn.engines.engine import EmbeddingWork
from gnn.model.base import GraphModel
from gnn.trained_model import load_trained_model
from graph_store.array_files import load_array, new_mapped_array, save_array, write_rows
from graph_store.arrays import Float32Array
from graph_store.csr import Csr
from graph_store.graph import Graph

Stage = Literal["input", "images", "tags", "embed"]


@dataclass(frozen=True)
class Shared:
    """What all parts of one reindex open: `folder` holds `model/` and `graph/`; `arrays` says where the array
    of a name lies: `features`, `image_<layer>`, `tag_<layer>`, `embeddings`. All in storage that every worker
    sees under the same path.
    """

    folder: Path
    arrays: Mapping[str, Path]

    def array(self, name: str) -> Float32Array:
        """Mapped anew each time: other machines have written to it since."""
        return np.asarray(load_array(self.arrays[name]))

    def images(self, layer: int, model: GraphModel) -> Float32Array:
        """h^layer of all images."""
        return self.array("features" if layer == 0 and model.images_enter_raw else f"image_{layer}")

    def tags(self, layer: int) -> Tensor:
        """h^layer of all tags."""
        return as_tensor(self.array(f"tag_{layer}"))


@dataclass(frozen=True)
class Part:
    """Rows start..stop of a stage: `input` makes h^0 of images, `images` and `tags` make h^layer, `embed` the
    images' embeddings.
    """

    stage: Stage
    layer: int
    start: int
    stop: int


def share(folder: Path, work: EmbeddingWork, images: Mapping[str, Path]) -> Shared:
    """Write what workers read, and make room for the states of the tags. images: where what they write of
    images lies, and `features`, where they lie in a file already.
    """
    # A name of its own, since a worker keeps what it has opened; and whole, since workers may have been
    # started in another directory.
    folder = folder.absolute() / secrets.token_hex(8)
    folder.mkdir(parents=True)
    work.trained.save(folder / "model")
    work.messages.save(folder / "graph")
    arrays = {"features": folder / "features.npy", **{name: file.absolute() for name, file in images.items()}}
    if "features" not in images:
        save_array(arrays["features"], work.features)
    model = work.trained.model
    for layer in range(model.num_layers + 1):
        arrays[f"tag_{layer}"] = folder / f"tag_{layer}.npy"
        if layer:
            new_mapped_array(arrays[f"tag_{layer}"], (work.messages.num_tags, model.tag_dim(layer)))
    with torch.no_grad():
        entering = model.eval().input_tags(as_tensor(work.tag_text), as_tensor(work.tag_numbers))
    save_array(arrays["tag_0"], entering.numpy())
    return Shared(folder, arrays)


def image_parts(stage: Stage, layer: int, num: int, rows: int) -> list[Part]:
    """All images, `rows` at a time."""
    return [Part(stage, layer, start, min(start + rows, num)) for start in range(0, num, rows)]


def tag_parts(layer: int, images_of_tag: Csr, edges: int) -> list[Part]:
    """All tags, in runs of at most `edges` edges, or of one tag that has more."""
    ends = images_of_tag.indptr
    parts, start = [], 0
    while start < images_of_tag.num_rows:
        stop = int(np.searchsorted(ends, ends[start] + edges, side="right")) - 1
        stop = min(max(stop, start + 1), images_of_tag.num_rows)
        parts.append(Part("tags", layer, start, stop))
        start = stop
    return parts


@torch.no_grad()
def compute(shared: Shared, part: Part) -> int:
    """Compute one part and write it durably; returns how many rows that were."""
    model, messages = _opened(shared.folder)
    if part.stage == "tags":
        below = shared.images(part.layer - 1, model), shared.tags(part.layer - 1)
        rows = tag_rows(model, messages, part.layer, *below, part.start, part.stop)
        write_rows(shared.arrays[f"tag_{part.layer}"], part.start, rows.numpy())
    else:
        target = shared.arrays["embeddings" if part.stage == "embed" else f"image_{part.layer}"]
        for start, rows in _blocks_of(shared, part, model, messages):
            write_rows(target, start, rows.numpy())
    return part.stop - part.start


def _blocks_of(
    shared: Shared, part: Part, model: GraphModel, messages: Graph
) -> Iterator[tuple[int, Tensor]]:
    """The new rows of images, block by block, so that a part may be larger than memory."""
    spans = [(part.start + start, part.start + stop) for start, stop in blocks(part.stop - part.start)]
    if part.stage == "input":
        features = shared.array("features")
        for start, stop in spans:
            yield start, model.input_images(as_tensor(features[start:stop]))
    elif part.stage == "images":
        images, tags = shared.images(part.layer - 1, model), shared.tags(part.layer - 1)
        for start, stop in spans:
            yield start, image_rows(model, messages, part.layer, images, tags, start, stop)
    else:
        below = range(model.num_layers)
        layers = Layers(
            tuple(shared.images(layer, model) for layer in below),
            tuple(shared.tags(layer) for layer in below),
        )
        for start, stop in spans:
            yield start, model.embed_images(image_states(model, messages, layers, start, stop))


@lru_cache(maxsize=1)
def _opened(folder: Path) -> tuple[GraphModel, Graph]:
    """The model and the graph of a reindex, which a worker opens once."""
    return load_trained_model(folder / "model").model, Graph.load(folder / "graph")
