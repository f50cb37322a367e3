"""The layers of a reindex on a Ray cluster: one layer at a time, over parts of memory-mapped files.

The data directory lies in storage that all nodes see under the same path, so that through Ray itself go only
the names of files and the numbers of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gnn.embedding import GraphStates, NewArray
from gnn.engines.engine import EmbeddingWork
from gnn.engines.errors import EngineFailed
from gnn.engines.parts import Part, Shared, Stage, compute, image_parts, share, tag_parts
from gnn.engines.ray_cluster import last_line, ray_cluster
from graph_store.arrays import Float32Array
from graph_store.progress import Advance, Progress

_ROWS = 65_536
_EDGES = 4_000_000
_RETRIES = 5


class RayEngine:
    """rows: images in a part; edges: of tags in a part. A part whose worker or machine dies is given to
    another one, up to five times.
    """

    def __init__(self, rows: int = _ROWS, edges: int = _EDGES) -> None:
        self._rows, self._edges = rows, edges

    def embed(
        self, work: EmbeddingWork, new_array: NewArray, scratch: Path, progress: Progress
    ) -> GraphStates:
        """As the protocol has it. new_array: must map files, of which the workers write the rows. Raises
        BadInput where `ray` is not installed.
        """
        model, num = work.trained.model.eval(), work.messages.num_images
        top = model.num_layers
        made = range(1 if model.images_enter_raw else 0, top)
        arrays = {
            f"image_{layer}": _file_of(new_array(f"image_{layer}", (num, model.image_dim(layer))))
            for layer in made
        }
        arrays["embeddings"] = _file_of(new_array("embeddings", (num, model.dim)))
        shared = share(scratch, work, arrays)
        with progress.phase("embed", num * (top + 1)) as advance, ray_cluster() as ray:
            if 0 in made:
                _run(ray, shared, image_parts("input", 0, num, self._rows), advance)
            else:
                advance(num)
            for layer in range(1, top + 1):
                # Both kinds of node read the layer below only.
                tags = tag_parts(layer, work.messages.images_of_tag, self._edges)
                stage: Stage = "images" if layer < top else "embed"
                _run(ray, shared, [*tags, *image_parts(stage, layer, num, self._rows)], advance)
        told = [shared.tags(layer) for layer in range(top + 1)]
        tag_embeddings = new_array("tag_embeddings", (work.messages.num_tags, model.dim))
        with torch.no_grad():
            tag_embeddings[:] = model.embed_tags(told).numpy()
        entering = work.features if model.images_enter_raw else shared.images(0, model)
        return GraphStates(
            # Not the features that workers read: where their file lies in `scratch` it goes.
            (entering, *(shared.images(layer, model) for layer in range(1, top))),
            tuple(np.array(state.numpy()) for state in told[:top]),  # copies: their files go with `scratch`
            shared.array("embeddings"),
            tag_embeddings,
        )


def _run(ray: Any, shared: Shared, parts: Sequence[Part], advance: Advance) -> None:
    """Compute all parts, in any order; none is under way any more when this returns or raises."""
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(compute)
    waiting = {task.remote(shared, part): part for part in parts}
    try:
        while waiting:
            done, _ = ray.wait(list(waiting))
            part = waiting.pop(done[0])
            rows = ray.get(done[0])
            advance(rows if part.stage != "tags" else 0)
    except ray.exceptions.RayError as error:
        raise EngineFailed(
            f"Ray could not compute {part.stage} {part.start} to {part.stop} of layer {part.layer}: "
            f"{last_line(error)}",
            hint="Look whether all nodes see the data directory under the same path.",
        ) from error
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _file_of(array: Float32Array) -> Path:
    """The file that an array is mapped to."""
    if not isinstance(array, np.memmap) or array.filename is None:
        raise ValueError("an array that workers fill must be mapped to a file")
    return Path(array.filename)
