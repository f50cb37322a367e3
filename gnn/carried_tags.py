"""Which tags the images of a snapshot carry: what the catalogue says, whatever the model believes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from graph_store.csr import Csr
from graph_store.graph import Graph, load_edges, save_edges
from graph_store.snapshot import Snapshot

_OF_IMAGE, _OF_TAG = "carried_tags_of_image", "carried_images_of_tag"


@dataclass(frozen=True, eq=False)
class CarriedTags:
    """The catalogue's `has` edges, for filters, counts and lists of tags. They are the graph's own, but where
    graph agreement has pruned some and added others: messages follow those, and what a user is told and may
    filter by follows these.

    of_image: image ← tag; of_tag: tag ← image; weights as stored.
    """

    of_image: Csr
    of_tag: Csr

    @classmethod
    def of(cls, graph: Graph) -> CarriedTags:
        """Those of a graph whose edges are the catalogue's."""
        return cls(graph.tags_of_image, graph.images_of_tag)

    def save(self, directory: Path, graph: Graph) -> None:
        """Write them beside the relations of `graph`, unless they are the same. Raises Unwritable."""
        if self.of_image is not graph.tags_of_image:
            save_edges(directory, _OF_IMAGE, self.of_image)
            save_edges(directory, _OF_TAG, self.of_tag)

    @classmethod
    def open(cls, snapshot: Snapshot, graph: Graph) -> CarriedTags:
        """Those of a snapshot with that graph, memory-mapped. Raises CorruptFile."""
        if f"graph/{_OF_IMAGE}.indptr.npy" not in snapshot.manifest["files"]:
            return cls.of(graph)
        directory = snapshot.path("graph")
        return cls(load_edges(directory, _OF_IMAGE), load_edges(directory, _OF_TAG))
