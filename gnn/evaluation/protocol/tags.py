"""Part 5: are the right tags named for a new picture, and do their probabilities mean what they say?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gnn.evaluation.intervals import Interval, Statistic, bootstrap, bootstrap_of
from gnn.evaluation.metrics import Float64Array, FloatArray, recall_at_k, top_k
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Row, Systems
from gnn.evaluation.tag_measures import tag_measures
from graph_store.arrays import BoolArray, Float32Array

TITLE = "Tags: five predicted for each held-out image"
PER_IMAGE = 5
BINS = 15


def tags(
    scores: Mapping[str, Float32Array],
    queries: TagTable,
    tag_names: tuple[str, ...],
    systems: Systems,
    *,
    chances: Mapping[str, Float32Array] | None = None,
    seed: int = 0,
) -> Part:
    """R@5, per-tag precision, recall and F1, N+, and for systems that state chances their expected
    calibration error.

    scores: {system: [num_queries, num_tags]}, the order, -inf for what is never named; chances: in the same
    shape; queries: the true tags. P and R are means over the tags that some query carries; F1 is their
    harmonic mean (Makadia et al. 2008), "F1 per tag" the mean of the tags' own.
    """
    truth = queries.dense()
    rows, per_tag = [], {}
    for name, given in scores.items():
        named = top_k(given, PER_IMAGE)
        hits = np.take_along_axis(truth & np.isfinite(given), named, axis=1)
        recall = recall_at_k(hits, truth.sum(axis=1), PER_IMAGE)
        measured = tag_measures(given, truth, PER_IMAGE)
        figures: dict[str, Interval] = {
            "R@5": bootstrap(recall, seed=seed),
            **_per_tag_intervals(given, truth, seed),
            "N+": replace(_recalled(given, truth, seed), count=measured.possible),
        }
        if chances is not None and name in chances:
            figures["ECE"] = calibration_interval(chances[name], truth, seed)
        rows.append(Row(name, systems.kind(name), figures))
        per_tag[name] = [float(f) for f in measured.per_tag[:, 2]]
    return Part("tags", TITLE, tuple(rows), series={"tag": list(tag_names), "F1": per_tag})


def _macro(measure: str) -> Statistic:
    """Macro precision, recall or F1 out of the means of [hit, given, carried], each [samples, num_tags].

    A mean over tags takes in those that some image of the (re)sample carries.
    """

    def statistic(means: Float64Array) -> Float64Array:
        hit, given, carried = np.split(means, 3, axis=1)
        present = carried > 0
        num_present = np.maximum(present.sum(axis=1), 1)

        def over_tags(top: Float64Array, bottom: Float64Array) -> Float64Array:
            share = np.where(present, top / np.maximum(bottom, 1e-15), 0.0)
            return np.asarray(share.sum(axis=1) / num_present)

        if measure == "F1 per tag":
            return over_tags(2 * hit, given + carried)
        precision, recall = over_tags(hit, given), over_tags(hit, carried)
        if measure == "P":
            return precision
        if measure == "R":
            return recall
        return np.asarray(2 * precision * recall / np.maximum(precision + recall, 1e-15))

    return statistic


def _named(scores: FloatArray) -> BoolArray:
    """[num_images, num_tags]: the tags that each image is given."""
    given = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(given, top_k(scores, PER_IMAGE), True, axis=1)
    return given & np.isfinite(scores)


def _recalled(scores: FloatArray, truth: BoolArray, seed: int) -> Interval:
    """N+: how many tags are named at least once where they are. A resample holds about two thirds of the
    images, so the interval lies below the figure.
    """
    hit = (_named(scores) & truth).astype(np.float32)
    return bootstrap_of(hit, lambda means: (means > 0).sum(axis=1).astype(np.float64), seed=seed, samples=200)


def _per_tag_intervals(scores: FloatArray, truth: BoolArray, seed: int) -> dict[str, Interval]:
    """Macro figures with intervals over images; the columns are 0/1, so that their means are exact enough."""
    names = ("P", "R", "F1", "F1 per tag")
    if not truth.any():
        return {name: Interval(float("nan"), float("nan"), float("nan"), 0) for name in names}
    given = _named(scores)
    columns = np.concatenate([given & truth, given, truth], axis=1).astype(np.float32)
    return {name: bootstrap_of(columns, _macro(name), seed=seed, samples=200) for name in names}


def calibration_interval(probability: FloatArray, truth: BoolArray, seed: int = 0) -> Interval:
    """Expected calibration error over all image-tag pairs with its interval over images.

    probability, truth: [num_images, num_tags]; NaN probability = not stated, left out.
    """
    stated = np.isfinite(probability)
    p = np.where(stated, probability, 0.0).astype(np.float64)
    which = np.minimum((np.clip(p, 0, 1) * BINS).astype(np.int64), BINS - 1)
    gap = np.where(stated, p - truth, 0.0)
    by_bin = np.stack([np.where(which == b, gap, 0.0).sum(axis=1) for b in range(BINS)], axis=1)
    columns = np.concatenate([by_bin, stated.sum(axis=1, keepdims=True)], axis=1)

    def error(means: Float64Array) -> Float64Array:
        return np.asarray(np.abs(means[:, :-1]).sum(axis=1) / np.maximum(means[:, -1], 1e-15))

    return bootstrap_of(columns, error, seed=seed, samples=200)
