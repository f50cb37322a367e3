"""Measures of ranking, tagging and calibration, as pure functions over arrays.

Every per-query measure returns one float64 for each query, so that a mean and its interval come from the
same numbers. A query for which a measure is undefined (nothing relevant exists) is NaN, and the mean leaves
it out.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from graph_store.arrays import BoolArray, Int64Array

Float64Array: TypeAlias = NDArray[np.float64]
FloatArray: TypeAlias = NDArray[np.floating[Any]]


def top_k(scores: FloatArray, k: int) -> Int64Array:
    """The columns of the k largest scores of each row, best first, equal scores by lower column.

    scores: [num_queries, num_items]; the answer is [num_queries, min(k, num_items)].
    """
    num_items = scores.shape[1]
    k = min(k, num_items)
    if k == 0:
        return np.zeros((scores.shape[0], 0), dtype=np.int64)
    if k == num_items:
        return np.argsort(-scores, axis=1, kind="stable").astype(np.int64)
    # torch.topk is five times as fast as argpartition on long rows.
    given = torch.from_numpy(np.require(scores, requirements=["C", "W"]))
    chosen = np.sort(torch.topk(given, k, dim=1).indices.numpy(), axis=1)
    values = np.take_along_axis(scores, chosen, axis=1)
    # topk picks as it likes among the items that tie with the k-th: where any such item was left out,
    # the row is ranked again in full.
    boundary = values.min(axis=1, keepdims=True)
    left_out = (scores >= boundary).sum(axis=1) > k
    order = np.argsort(-values, axis=1, kind="stable")
    best: Int64Array = np.take_along_axis(chosen, order, axis=1).astype(np.int64)
    for row in np.flatnonzero(left_out):
        candidates = np.flatnonzero(scores[row] >= boundary[row, 0])
        best[row] = candidates[np.argsort(-scores[row, candidates], kind="stable")[:k]]
    return best


def ranked_gains(scores: FloatArray, gains: FloatArray, k: int) -> Float64Array:
    """The gain expected at each of the first k ranks when equal scores are put in random order.

    scores, gains: [num_queries, num_items]; the answer is [num_queries, min(k, num_items)]. Taking the mean
    over a group of ties (McSherry and Najork 2008) makes a measure independent of the order of the items.
    """
    order = top_k(scores, k)
    values = np.take_along_axis(scores, order, axis=1)
    ranked = np.take_along_axis(gains, order, axis=1).astype(np.float64)
    if order.shape[1] == 0:
        return ranked
    boundary = values[:, -1:]
    for row in np.flatnonzero((values[:, 1:] == values[:, :-1]).any(axis=1)):
        starts = np.flatnonzero(np.r_[True, values[row, 1:] != values[row, :-1]])
        counts = np.diff(np.r_[starts, order.shape[1]])
        ranked[row] = np.repeat(np.add.reduceat(ranked[row], starts) / counts, counts)
    at_boundary = scores == boundary
    for row in np.flatnonzero(at_boundary.sum(axis=1) > (values == boundary).sum(axis=1)):
        ranked[row, values[row] == boundary[row, 0]] = gains[row, at_boundary[row]].mean()
    return ranked


def ideal_gains(gains: FloatArray, k: int) -> Float64Array:
    """The k largest gains of each row, in falling order: the best ranking that the whole index allows."""
    k = min(k, gains.shape[1])
    if k == 0:
        return np.zeros((gains.shape[0], 0))
    largest = np.partition(gains, gains.shape[1] - k, axis=1)[:, gains.shape[1] - k :]
    return -np.sort(-largest.astype(np.float64), axis=1)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Float64Array:
    """part / whole, NaN where whole is not positive."""
    share = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def ndcg_at_k(ranked: FloatArray, ideal: FloatArray, k: int) -> Float64Array:
    """Normalised discounted cumulative gain with linear gain and the discount 1 / log2(rank + 1).

    ranked: [num_queries, >= k] gains of the results, best first (shorter when fewer came back);
    ideal: [num_queries, >= k] gains of the best possible ranking. Jarvelin and Kekalainen 2002, with the
    gain itself instead of 2^gain - 1: a Jaccard gain is already a share. NaN where the ideal is zero.
    """

    def dcg(gains: FloatArray) -> Float64Array:
        cut = np.asarray(gains[:, :k], dtype=np.float64)
        discount = 1.0 / np.log2(np.arange(2, cut.shape[1] + 2))
        total: Float64Array = cut @ discount
        return total

    best = dcg(ideal)
    got = dcg(ranked)
    return _share(got, best)


def recall_at_k(relevant: BoolArray, total: Int64Array, k: int) -> Float64Array:
    """Share of all relevant items that are among the first k.

    relevant: [num_queries, >= k] whether each result is relevant, best first; total: [num_queries] how many
    relevant items there are. NaN where there are none.
    """
    return _share(relevant[:, :k].sum(axis=1), total)


def r_precision(relevant: BoolArray, total: Int64Array) -> Float64Array:
    """Precision after as many results as there are relevant items (R): 1 is reachable for every query.

    relevant: [num_queries, >= max R] whether each result is relevant, best first (False beyond the end of a
    shorter list); total: [num_queries] R. NaN where R is 0.
    """
    within = np.arange(relevant.shape[1])[None, :] < total[:, None]
    return _share((relevant & within).sum(axis=1), total)


def spearman(x: FloatArray, y: FloatArray) -> float:
    """Rank correlation of two series [n], ties by their mean rank; NaN where one of them is constant."""
    # Not above: all that trains imports this module, and scipy.stats takes a second.
    from scipy.stats import rankdata

    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else float("nan")


def expected_calibration_error(probability: FloatArray, happened: BoolArray, bins: int = 15) -> float:
    """Mean gap between stated probability and observed share, over bins of equal width, by their size.

    probability, happened: the same shape, probabilities in [0, 1]. Naeini, Cooper and Hauskrecht 2015.
    """
    p = np.asarray(probability, dtype=np.float64).ravel()
    y = np.asarray(happened, dtype=np.float64).ravel()
    if p.size == 0:
        return float("nan")
    which = np.minimum((p * bins).astype(np.int64), bins - 1)
    gap = np.abs(np.bincount(which, weights=p - y, minlength=bins))
    return float(gap.sum() / p.size)


def knn_label_accuracy(
    similarity: FloatArray, index_truth: BoolArray, query_truth: BoolArray, k: int = 5
) -> Float64Array:
    """1 where the tag that most of the k nearest indexed images carry is one of the query's, else 0.

    similarity: [num_queries, num_indexed]; index_truth: [num_indexed, num_tags]; query_truth: [num_queries,
    num_tags]. Equal votes go to the tag whose carriers are more similar in sum. NaN for a query without
    tags. The multi-label form of Graph-RISE's kNN accuracy (Juan et al., WSDM 2020).
    """
    nearest = top_k(similarity, k)
    weight = np.take_along_axis(similarity, nearest, axis=1).astype(np.float64)
    votes = np.zeros(query_truth.shape)
    for column in range(nearest.shape[1]):
        # Similarities lie in [-1, 1], so a hundredth of them, shared by at most k, breaks ties only.
        votes += index_truth[nearest[:, column]] * (1 + weight[:, column, None] / (100 * k))
    winner = votes.argmax(axis=1)
    correct: Float64Array = query_truth[np.arange(len(winner)), winner].astype(np.float64)
    correct[~query_truth.any(axis=1)] = np.nan
    return correct


def triplet_accuracy(anchor: FloatArray, positive: FloatArray, negative: FloatArray) -> Float64Array:
    """1 where the anchor is closer to the positive than to the negative, 0.5 where equal, else 0.

    anchor, positive, negative: [num_triplets, dim], compared by inner product.
    """
    near = np.einsum("nd,nd->n", anchor, positive)
    far = np.einsum("nd,nd->n", anchor, negative)
    return np.asarray((near > far) + 0.5 * (near == far), dtype=np.float64)
