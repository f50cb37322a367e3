"""Binary codes beside codes without labels, and what they keep of the vectors they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnn.evaluation.hash_measures import average_gain, exponential_ndcg, weighted_map
from gnn.evaluation.intervals import Interval, bootstrap, ratio_of_means
from gnn.evaluation.metrics import Float64Array, ideal_gains, ndcg_at_k, top_k
from gnn.evaluation.questions import Questions
from gnn.evaluation.relevance import chunks, jaccard_gains
from gnn.evaluation.results import Kind, Part, Row
from gnn.evaluation.systems import DEFAULT_VISUAL_WEIGHT, EngineSystem
from gnn.hashing.codes import CodeHead, HashCodes
from gnn.hashing.rotation import principal_head, random_head, rotated_head
from gnn.query import QueryEngine, QueryVectors
from gnn.trained_model import TrainedModel
from graph_store.arrays import Float32Array, Int64Array

TITLE = "Hash codes: a held-out image, no tags, plain Hamming distance"
NO_PRESET = "no preset with hash codes is trained (imsage train --preset hash)"
VECTORS = "vectors"
SLIDER_STOPS = (0.0, 0.5, 1.0)
MOST_RANKED = 10_000_000
_FIGURES = ("NDCG@100", "ACG@100", "WMAP", "nDCG@10")


@dataclass(frozen=True, eq=False)
class _Asked:
    """inputs, items: of queries [q, dim] and index [n, dim] in the heads' space; blended [q, dim] and vectors
    [n, dim]: what is compared without codes.
    """

    inputs: Float32Array
    items: Float32Array
    blended: Float32Array
    vectors: Float32Array


def hash_part(
    presets: Mapping[str, QueryEngine],
    trained: Mapping[str, TrainedModel],
    questions: Questions,
    *,
    seed: int = 0,
) -> Part:
    """NDCG@100, ACG@100 and weighted MAP (:mod:`gnn.evaluation.hash_measures`), and nDCG@10 with Jaccard gain
    as in the other parts, at each length of code; equal distances by lower row, as an index returns them.

    Beside each length of learnt codes stand three kinds without labels, made from the same vectors: signs of
    the embedding itself (turned at random), of its principal axes, and ITQ. `kept`: nDCG@10 over that of the
    vectors. The last row is what the preset serves: candidates by code, ranked again by vector; `found` is
    the share of the ten best by vector among its ten at three places of the slider.

    So that whole rankings fit, a large index is asked fewer questions, evenly spread.
    """
    name = next((name for name in presets if trained[name].hashing is not None), None)
    if name is None:
        return Part("hash", TITLE, not_applicable=NO_PRESET)
    hashing, engine = trained[name].hashing, presets[name]
    assert hashing is not None
    num = len(questions.index_records)
    most = max(100, MOST_RANKED // max(num, 1))
    system = EngineSystem(engine)
    spread = np.arange(0, len(questions.query_records), -(-len(questions.query_records) // most))
    embedded = system.image_queries(questions.query_features[spread])
    kept = spread[[each is not None for each in embedded]].astype(np.int64)
    vectors = [each for each in embedded if each is not None]
    if not len(kept) or num == 0:
        return Part("hash", TITLE, not_applicable="no held-out image can be asked about")
    asked = _asked(hashing, engine, vectors)
    gains = _Gains(questions, kept)
    exact = gains.figures(asked.blended, asked.vectors)
    rows = [_row(VECTORS, "baseline", exact, exact, seed)]
    for label, head, kind in _heads(hashing, asked.items, name, seed):
        found = gains.figures(_signs(head, asked.inputs), _signs(head, asked.items))
        rows.append(_row(f"{label}, {head.bits} bits", kind, found, exact, seed))
    served = gains.of_rows(system.rows(vectors, DEFAULT_VISUAL_WEIGHT, 100))
    label = f"{name}, {hashing.bits} bits, {hashing.reranked} ranked again"
    last = _row(label, "preset", served, exact, seed)
    figures = {**last.figures, **_found(system, vectors, asked.vectors, seed)}
    return Part("hash", TITLE, (*rows, Row(last.system, last.kind, figures)))


class _Gains:
    """What each ranking is worth: queries are rows of `questions`, thinned out to `kept`."""

    def __init__(self, questions: Questions, kept: Int64Array) -> None:
        self._queries, self._index = questions.query_tags.rows(kept), questions.index_tags
        self._count = len(kept)

    def figures(self, left: Float32Array, right: Float32Array) -> dict[str, Float64Array]:
        """All figures of the ranking by left · right: [q, d], [n, d]."""
        pieces = []
        for part in chunks(self._count, len(right)):
            order = np.argsort(-(left[part] @ right.T), axis=1, kind="stable")
            pieces.append(self._measured(part, order, whole=True))
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def of_rows(self, rows: Int64Array) -> dict[str, Float64Array]:
        """All but the weighted MAP, of rankings [q, 100] that were cut off; -1 where nothing came back."""
        pieces = [
            self._measured(part, rows[part], whole=False)
            for part in chunks(self._count, self._index.num_images)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _measured(self, part: slice, order: Int64Array, whole: bool) -> dict[str, Float64Array]:
        queries = self._queries.rows(part)
        shared = np.asarray((queries.matrix @ self._index.matrix.T).toarray(), dtype=np.float32)
        jaccard = jaccard_gains(queries, self._index)
        ranked = _taken(shared, order)
        figures = {
            "NDCG@100": exponential_ndcg(ranked, ideal_gains(shared, 100).astype(np.float32)),
            "ACG@100": average_gain(ranked),
            "nDCG@10": ndcg_at_k(_taken(jaccard, order[:, :10]), ideal_gains(jaccard, 10), 10),
        }
        # Of all that is indexed: a ranking that was cut off and shares nothing counts as 0.
        figures["ACG@100"][~(shared > 0).any(axis=1)] = np.nan
        if whole:
            figures["WMAP"] = weighted_map(ranked)
        return figures


def _asked(hashing: HashCodes, engine: QueryEngine, vectors: list[QueryVectors]) -> _Asked:
    index = engine.image_vectors(np.arange(engine.num_images, dtype=np.int64))
    blended = np.stack([each.blend(DEFAULT_VISUAL_WEIGHT) for each in vectors])
    return _Asked(hashing.space.of_queries(blended), hashing.space.of_index(index), blended, index)


def _heads(hashing: HashCodes, items: Float32Array, name: str, seed: int) -> list[tuple[str, CodeHead, Kind]]:
    mean = items.mean(axis=0)
    heads: list[tuple[str, CodeHead, Kind]] = []
    for bits in sorted(hashing.heads):
        heads.append(("sign of embedding", random_head(mean, bits, seed), "baseline"))
        heads.append(("PCA-sign", principal_head(items, mean, bits), "baseline"))
        heads.append(("ITQ", rotated_head(items, mean, bits, seed), "baseline"))
        heads.append((name, hashing.heads[bits], "preset"))
    return heads


def _signs(head: CodeHead, inputs: Float32Array) -> Float32Array:
    """[n, bits] of -1 and 1: their inner products fall as Hamming distances rise."""
    return np.where(head.outputs(inputs) > 0, np.float32(1), np.float32(-1))


def _taken(gains: Float32Array, order: Int64Array) -> Float32Array:
    taken = np.take_along_axis(gains, np.maximum(order, 0), axis=1)
    return np.where(order >= 0, taken, np.float32(0))


def _row(
    label: str,
    kind: Kind,
    found: Mapping[str, Float64Array],
    exact: Mapping[str, Float64Array],
    seed: int,
) -> Row:
    figures: dict[str, Interval] = {
        name: bootstrap(found[name], seed=seed) for name in _FIGURES if name in found
    }
    if label != VECTORS:
        figures["kept"] = ratio_of_means(found["nDCG@10"], exact["nDCG@10"], seed=seed)
    return Row(label, kind, figures)


def _found(
    system: EngineSystem, vectors: list[QueryVectors], index: Float32Array, seed: int
) -> dict[str, Interval]:
    """The share of the ten best by vector that come back among ten, at three places of the slider."""
    figures = {}
    for stop in SLIDER_STOPS:
        scores = np.stack([each.blend(stop) for each in vectors]) @ index.T
        best, rows = top_k(scores, 10), system.rows(vectors, stop, 10)
        shared = (best[:, :, None] == rows[:, None, :]).any(axis=2).mean(axis=1)
        figures[f"found, v = {stop:g}"] = bootstrap(shared, seed=seed)
    return figures
