"""The heterogeneous graph of images and tags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graph_store.array_files import load_array, save_array
from graph_store.csr import Csr
from graph_store.durable import fsync_dir, refusing_unwritable
from graph_store.errors import CorruptFile

_RELATIONS = ("similar", "tags_of_image", "images_of_tag", "related")
_ARRAYS = ("indptr", "indices", "weights")


@dataclass(frozen=True, eq=False)
class Graph:
    """Four relations between `num_images` images and `num_tags` tags; in each, the row is the node that
    receives.

    similar: image ← image, weights are feature cosines. tags_of_image: image ← tag (`rev_has`).
    images_of_tag: tag ← image (`has`). related: tag ← tag. Raises ValueError when an edge leaves the graph.
    """

    num_images: int
    num_tags: int
    similar: Csr
    tags_of_image: Csr
    images_of_tag: Csr
    related: Csr

    def __post_init__(self) -> None:
        for name, receivers, senders in (
            ("similar", self.num_images, self.num_images),
            ("tags_of_image", self.num_images, self.num_tags),
            ("images_of_tag", self.num_tags, self.num_images),
            ("related", self.num_tags, self.num_tags),
        ):
            relation: Csr = getattr(self, name)
            if relation.num_rows != receivers:
                raise ValueError(f"{name} has {relation.num_rows} rows for {receivers} nodes")
            if relation.num_edges and relation.indices.max() >= senders:
                raise ValueError(f"{name} names node {relation.indices.max()} of {senders}")

    def save(self, directory: Path) -> None:
        """Write each array as `<relation>.<array>.npy`, durably. Raises Unwritable."""
        with refusing_unwritable(directory):
            directory.mkdir(parents=True, exist_ok=True)
            for relation in _RELATIONS:
                save_edges(directory, relation, getattr(self, relation))
            fsync_dir(directory)

    @classmethod
    def load(cls, directory: Path, mmap: bool = True) -> Graph:
        """Read what `save` wrote, as read-only memory maps unless `mmap` is False. Raises CorruptFile."""
        relations = {relation: load_edges(directory, relation, mmap) for relation in _RELATIONS}
        try:
            return cls(
                num_images=relations["similar"].num_rows, num_tags=relations["related"].num_rows, **relations
            )
        except ValueError as error:
            raise CorruptFile(f"The graph in {directory} is damaged: {error}", path=directory) from error


def save_edges(directory: Path, name: str, edges: Csr) -> None:
    """Write each array as `<name>.<array>.npy`, durably, into a directory that exists. Raises Unwritable."""
    for array in _ARRAYS:
        save_array(directory / f"{name}.{array}.npy", getattr(edges, array))


def load_edges(directory: Path, name: str, mmap: bool = True) -> Csr:
    """What `save_edges` wrote. Raises CorruptFile."""
    # As plain views of the maps: each look-up in a map's own class costs more than the row.
    arrays = {array: np.asarray(load_array(directory / f"{name}.{array}.npy", mmap)) for array in _ARRAYS}
    try:
        return Csr(**arrays)
    except ValueError as error:
        path = directory / f"{name}.indptr.npy"
        raise CorruptFile(f"The edges in {path} are damaged: {error}", path=path) from error
