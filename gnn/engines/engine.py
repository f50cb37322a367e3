"""What a reindex asks of whatever computes its layers, and the engine that does it in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gnn.embedding import GraphStates, NewArray, embed_graph
from gnn.trained_model import TrainedModel
from graph_store.arrays import Float32Array, Int64Array
from graph_store.graph import Graph
from graph_store.progress import Progress


@dataclass(frozen=True, eq=False)
class EmbeddingWork:
    """The arguments of :func:`gnn.embedding.embed_graph`. features: [num_images, feature_dim]."""

    trained: TrainedModel
    messages: Graph
    features: Float32Array
    tag_text: Float32Array
    tag_numbers: Int64Array


class Engine(Protocol):
    """Every engine gives the same states to 1e-5; one suite, `tests/engines`, holds them to that."""

    def embed(
        self, work: EmbeddingWork, new_array: NewArray, scratch: Path, progress: Progress
    ) -> GraphStates:
        """All states and embeddings, one layer after the other.

        new_array: makes the arrays that are kept. scratch: a directory that the engine may make and fill; the
        caller removes it. Raises EngineFailed.
        """


class LocalEngine:
    """This process, by blocks of rows."""

    def embed(
        self, work: EmbeddingWork, new_array: NewArray, scratch: Path, progress: Progress
    ) -> GraphStates:
        del scratch
        return embed_graph(
            work.trained.model,
            work.messages,
            work.features,
            work.tag_text,
            work.tag_numbers,
            new_array,
            progress,
        )
