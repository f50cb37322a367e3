"""Part 3, seen from the index: which tags does an indexed image probably lack, and how sure is that?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gnn.evaluation.intervals import Interval, bootstrap
from gnn.evaluation.metrics import recall_at_k, top_k
from gnn.evaluation.protocol.tags import calibration_interval
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Row, Systems
from graph_store.arrays import Float32Array, Int64Array

TITLE = "Completing tags: half of the index's edges hidden; which tags does an indexed image lack?"
NAMED = 5


def completion(
    scores: Mapping[str, Float32Array],
    visible: TagTable,
    true: TagTable,
    systems: Systems,
    *,
    chances: Mapping[str, Float32Array] | None = None,
    seed: int = 0,
) -> Part:
    """Share of the hidden tags among the five named, and the expected calibration error over all tags that an
    image does not visibly carry and over the five named.

    scores: {system: [num_images, num_tags]}, the order; chances: of those systems that state any, in the same
    shape; visible, true: the tags of the same indexed images. An image
    that lacks nothing is left out of the recall.
    """
    shown = visible.dense()
    lacking = true.dense() & ~shown
    rows = []
    for name, given in scores.items():
        open_scores = np.where(shown, -np.inf, given)
        best = top_k(open_scores, NAMED)
        hits = np.take_along_axis(lacking, best, axis=1)
        figures: dict[str, Interval] = {
            "R@5": bootstrap(recall_at_k(hits, lacking.sum(axis=1), NAMED), seed=seed)
        }
        if chances is not None and name in chances:
            stated = np.where(shown, np.nan, chances[name])
            named = np.full(stated.shape, np.nan, dtype=stated.dtype)
            np.put_along_axis(named, best, np.take_along_axis(stated, best, axis=1), axis=1)
            figures["ECE"] = calibration_interval(stated, lacking, seed)
            figures["ECE of the five"] = calibration_interval(named, lacking, seed)
        rows.append(Row(name, systems.kind(name), figures))
    notes = (f"{len(shown)} images, {int(lacking.sum())} hidden tags",)
    return Part("completion", TITLE, tuple(rows), notes=notes)


def drawn_images(num_images: int, limit: int, seed: int) -> Int64Array:
    """At most `limit` rows of the index, rising."""
    chosen = np.random.default_rng(seed).permutation(num_images)[:limit]
    return np.sort(chosen).astype(np.int64)
