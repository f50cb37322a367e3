"""What held-out images decide once preset `graph-rise` is trained: the slider's middle, and probabilities."""

from __future__ import annotations

import numpy as np

from gnn.attach import attach, inputs_of
from gnn.calibration import Calibration, fit_calibration
from gnn.embedding import embed_graph
from gnn.evaluation.metrics import ideal_gains, ndcg_at_k, ranked_gains
from gnn.evaluation.relevance import TagTable, jaccard_gains
from gnn.graph_data import GraphData
from gnn.model.rise_sage import RiseSage
from gnn.trained_model import SliderBalance
from graph_store.arrays import Float32Array, Int64Array
from graph_store.csr import Csr
from graph_store.graph import Graph

VISUAL_BALANCES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
_COST_OF_BALANCE = 0.0015


def settle_rise(
    model: RiseSage, messages: Graph, held: Int64Array, hidden: Csr, data: GraphData
) -> tuple[SliderBalance, Calibration]:
    """messages: the graph without the tags `hidden` of the images `held` [v], its weights normalised. The
    balance is the largest whose middle of the slider ranks about as well as the best one.
    """
    if held.size == 0:
        return SliderBalance(VISUAL_BALANCES[4]), Calibration()
    text, numbers = np.zeros((data.num_tags, 0), np.float32), np.arange(data.num_tags, dtype=np.int64)
    states = embed_graph(model, messages, data.features, text, numbers)
    similar = _rows(messages.similar, held)
    nodes = attach(
        model,
        inputs_of(model, np.asarray(data.features[held])),
        similar,
        Csr.empty(held.size),
        states.image_states,
        states.tag_states,
    )
    views = model.embed_images(nodes).numpy()
    width = model.config.width
    truth = TagTable.from_csr(hidden, data.num_tags)
    scores = views[:, width:] @ states.tag_embeddings[:, width:].T
    index = np.flatnonzero(messages.tags_of_image.degrees()).astype(np.int64)
    if not index.size:
        return SliderBalance(VISUAL_BALANCES[4]), Calibration()
    known = TagTable.from_csr(data.tags_of_image.take(index), data.num_tags)
    balance = _balance(views, states.embeddings[index], width, jaccard_gains(truth, known))
    return balance, fit_calibration(scores, truth.dense().astype(np.float32))


def _balance(views: Float32Array, index: Float32Array, width: int, gains: Float32Array) -> SliderBalance:
    looks = views[:, :width] @ index[:, :width].T
    meaning = views[:, width:] @ index[:, width:].T
    ideal = ideal_gains(gains, 10)
    if not ideal[:, :1].any():  # nothing is alike, so nothing tells one balance from another
        return SliderBalance(VISUAL_BALANCES[4])
    quality = {}
    for each in VISUAL_BALANCES:
        ranked = ranked_gains(meaning + np.float32(each) * looks, gains, 10)
        quality[each] = sum(float(np.nanmean(ndcg_at_k(ranked, ideal, k))) for k in (5, 10)) / 2
    best = max(quality.values())
    return SliderBalance(max(each for each, value in quality.items() if value >= best - _COST_OF_BALANCE))


def _rows(csr: Csr, rows: Int64Array) -> Csr:
    parts = [csr.row(int(row)) for row in rows]
    return Csr.from_rows(
        [len(senders) for senders, _ in parts],
        np.concatenate([senders for senders, _ in parts]),
        np.concatenate([weights for _, weights in parts]),
    )
