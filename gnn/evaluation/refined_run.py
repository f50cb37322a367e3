"""Asks the systems for a picture without one of its things, and for a tag beside pictures of two contexts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gnn.evaluation.baselines import SearchBaseline
from gnn.evaluation.metrics import top_k
from gnn.evaluation.protocol import contexts, unwanted
from gnn.evaluation.questions import Questions
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Systems
from gnn.evaluation.systems import DEFAULT_VISUAL_WEIGHT, BaselineSystem, Engine, EngineSystem
from gnn.evaluation.tuning import MLP, Baselines
from graph_store.arrays import Float32Array, Int64Array

HARD_FILTER = "hard filter"


def refused(
    questions: Questions,
    presets: Mapping[str, Engine],
    baselines: Baselines,
    systems: Systems,
    seed: int,
    quick: bool,
) -> Part:
    """Negative tags. The baseline takes the refused tag out of what the perceptron predicts."""
    queries, index = questions.known_query_tags, questions.known_index_tags
    asked = unwanted.unwanted_queries(queries, index, limit=200 if quick else 1000, seed=seed)
    if not len(asked.tags):
        reason = "no held-out image has two tags, one of them on ten indexed images"
        return Part("unwanted", unwanted.TITLE, not_applicable=reason)
    features = questions.query_features[asked.images]
    results: dict[str, tuple[Int64Array, Int64Array]] = {}
    name = f"{MLP} + raw"
    if name in baselines.searches:
        search = baselines.searches[name]
        results[name] = (
            BaselineSystem(search).rows(features, unwanted.DEPTH),
            _rows_without(search, features, asked.tags),
        )
    for preset, engine in presets.items():
        system = EngineSystem(engine)
        both = system.image_queries(features), system.refusing_queries(features, asked.tags)
        plain, without = (system.rows(each, DEFAULT_VISUAL_WEIGHT, unwanted.DEPTH) for each in both)
        results[preset] = plain, without
    return unwanted.unwanted(results, asked, queries, index, systems, seed=seed)


def _rows_without(search: SearchBaseline, features: Float32Array, tags: Int64Array) -> Int64Array:
    assert search.predictor is not None and search.space is not None
    predicted = search.predictor.predict(features)
    predicted[np.arange(len(tags)), tags] = 0.0
    concept, weight = search.space.cosine(predicted), np.float32(search.concept_weight)
    return top_k(weight * concept + (1 - weight) * (features @ search.features.T), unwanted.DEPTH)


def disambiguated(
    questions: Questions, presets: Mapping[str, Engine], systems: Systems, seed: int, quick: bool
) -> Part:
    """Figure 6 of the paper. The baseline ranks what carries the tag by likeness to the picture."""
    queries, index = questions.known_query_tags, questions.known_index_tags
    asked = contexts.context_queries(queries, index, limit=80 if quick else 400)
    if not len(asked.tags):
        reason = "no tag is found in two contexts that held-out images show"
        return Part("contexts", contexts.TITLE, not_applicable=reason)
    images, tags = asked.images.ravel(), np.repeat(asked.tags, 2)
    features = questions.query_features[images]
    carries = np.asarray(index.matrix.tocsc()[:, tags].toarray().T, dtype=np.float32)
    filtered = contexts.filtered_rows(features @ questions.index_features.T, carries, contexts.DEPTH)
    results = {HARD_FILTER: filtered.reshape(-1, 2, contexts.DEPTH)}
    one_tag = TagTable.from_pairs(np.arange(len(tags), dtype=np.int64), tags, len(tags), index.num_tags)
    for name, engine in presets.items():
        system = EngineSystem(engine)
        vectors = system.image_queries(features, one_tag, "mixed")
        found = system.rows(vectors, DEFAULT_VISUAL_WEIGHT, contexts.DEPTH)
        results[name] = found.reshape(-1, 2, contexts.DEPTH)
    return contexts.contexts(results, asked, index, systems, seed=seed)
