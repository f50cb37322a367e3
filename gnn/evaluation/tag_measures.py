"""Precision, recall and F1 of predicted tags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnn.evaluation.metrics import Float64Array, FloatArray, top_k
from graph_store.arrays import BoolArray


@dataclass(frozen=True)
class TagMeasures:
    """How well tags are predicted with a fixed number of tags per image.

    precision, recall and f1 are means over the tags that occur in the truth, each tag counting once,
    however rare (f1 is the mean of the tags' own F1; f1_of_means the harmonic mean of precision and recall,
    as in the image annotation literature since Makadia et al. 2008). recalled: N+, the number of tags found
    at least once. per_tag: [num_tags, 3] precision, recall, F1; NaN for a tag that no image carries.
    """

    precision: float
    recall: float
    f1: float
    f1_of_means: float
    recalled: int
    possible: int
    per_tag: Float64Array


def tag_measures(scores: FloatArray, truth: BoolArray, per_image: int = 5) -> TagMeasures:
    """Precision, recall and F1 per tag when every image gets its `per_image` best tags.

    scores, truth: [num_images, num_tags]. A score of -inf is never predicted; a tag that never is
    has precision 0.
    """
    chosen = top_k(scores, per_image)
    predicted = np.zeros(truth.shape, dtype=bool)
    np.put_along_axis(predicted, chosen, True, axis=1)
    predicted &= np.isfinite(scores)
    hit = (predicted & truth).sum(axis=0).astype(np.float64)
    carried = truth.sum(axis=0)
    given = predicted.sum(axis=0)
    present = carried > 0
    precision = hit / np.maximum(given, 1)
    recall = hit / np.maximum(carried, 1)
    f1 = 2 * hit / np.maximum(given + carried, 1)
    per_tag = np.stack([precision, recall, f1], axis=1)
    per_tag[~present] = np.nan
    if not present.any():
        return TagMeasures(float("nan"), float("nan"), float("nan"), float("nan"), 0, 0, per_tag)
    p, r = float(precision[present].mean()), float(recall[present].mean())
    return TagMeasures(
        precision=p,
        recall=r,
        f1=float(f1[present].mean()),
        f1_of_means=2 * p * r / (p + r) if p + r > 0 else 0.0,
        recalled=int((hit > 0).sum()),
        possible=int(present.sum()),
        per_tag=per_tag,
    )
