"""Cutting a catalogue's training split into an index and queries, and spoiling its tags."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gnn.evaluation.relevance import TagTable
from gnn.graph_data import GraphData
from gnn.presets import Preset
from gnn.query import QueryEngine
from gnn.reindex import build_index
from gnn.training import learnt_aside
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr


@dataclass(frozen=True, eq=False)
class Fold:
    """Indexed images, and images held out as queries with the tags they truly carry."""

    index: GraphData
    queries: Float32Array
    truth: TagTable
    known: TagTable


def fold_of(data: GraphData, seed: int, images: int) -> Fold:
    """A fifth of the images, at most 800, as queries; at most `images` of the others as the index."""
    order = np.random.default_rng(seed).permutation(len(data.features))
    held = np.sort(order[: min(len(order) // 5, 800)])
    kept = np.sort(order[len(held) :][:images])
    tags = TagTable.from_csr(data.tags_of_image, data.num_tags)
    index = replace(
        data,
        images=data.images.take(kept),
        features=np.asarray(data.features[kept]),
        tags_of_image=rows_of(data.tags_of_image, kept),
    )
    return Fold(index, np.asarray(data.features[held]), tags.rows(held), tags.rows(kept))


def rows_of(csr: Csr, rows: Int64Array) -> Csr:
    """Those rows, renumbered."""
    parts = [csr.row(int(row)) for row in rows]
    return Csr.from_rows(
        [len(found) for found, _ in parts],
        np.concatenate([found for found, _ in parts]),
        np.concatenate([weights for _, weights in parts]),
    )


def spoilt(csr: Csr, share: float, others: Int64Array, columns: int, rng: np.random.Generator) -> Csr:
    """A share of the edges leads to one of `others` instead, at the weight that it had."""
    ends = np.where(rng.random(csr.num_edges) < share, rng.choice(others, csr.num_edges), csr.indices)
    rows = csr.edge_rows()
    once = np.unique(rows * columns + ends, return_index=True)[1]
    return Csr.from_edges(rows[once], ends[once], csr.weights[once], csr.num_rows)


def thinned(csr: Csr, share: float, rng: np.random.Generator) -> Csr:
    """Each edge stays with this chance."""
    kept = rng.random(csr.num_edges) < share
    return Csr.from_edges(csr.edge_rows()[kept], csr.indices[kept], csr.weights[kept], csr.num_rows)


def engine_of(learnt: GraphData, data: GraphData, preset: Preset, epochs: int, seed: int) -> QueryEngine:
    """An engine over `data`, its model trained on `learnt`."""
    return QueryEngine(build_index(learnt_aside(preset, learnt, epochs=epochs, seed=seed), data))
