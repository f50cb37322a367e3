"""Asks the systems for a picture without one of its things, with one of them named, and for a tag beside
pictures of two contexts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gnn.evaluation.baselines import SearchBaseline
from gnn.evaluation.metrics import top_k
from gnn.evaluation.protocol import contexts, told, unwanted
from gnn.evaluation.questions import Questions
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Systems
from gnn.evaluation.systems import DEFAULT_VISUAL_WEIGHT, BaselineSystem, Engine, EngineSystem, in_chunks
from gnn.evaluation.tuning import MLP, RAW, Baselines
from graph_store.arrays import Float32Array, Int64Array

HARD_FILTER = "hard filter"
CERTAIN = "tag certain"
LEFT_OUT = "carriers left out"


def refused(
    questions: Questions,
    presets: Mapping[str, Engine],
    baselines: Baselines,
    systems: Systems,
    seed: int,
    quick: bool,
) -> Part:
    """Negative tags. The baselines take the refused tag out of what the perceptron predicts, or leave out all
    images that carry it.
    """
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
        alone = BaselineSystem(search).rows(features, unwanted.DEPTH)
        results[name] = alone, _rows_told(search, features, asked.tags, 0.0)
        results[f"{name}, {LEFT_OUT}"] = alone, _rows_without(search, features, index, asked.tags)
    for preset, engine in presets.items():
        system = EngineSystem(engine)
        both = system.image_queries(features), system.refusing_queries(features, asked.tags)
        plain, without = (system.rows(each, DEFAULT_VISUAL_WEIGHT, unwanted.DEPTH) for each in both)
        results[preset] = plain, without
    return unwanted.unwanted(results, asked, queries, index, systems, seed=seed)


def _rows_told(search: SearchBaseline, features: Float32Array, tags: Int64Array, chance: float) -> Int64Array:
    """The rows of a late fusion that takes each picture's tag to be there with this chance."""
    assert search.predictor is not None and search.space is not None
    predicted = search.predictor.predict(features)
    predicted[np.arange(len(tags)), tags] = chance
    space, weight = search.space, np.float32(search.concept_weight)

    def fused(part: slice) -> Int64Array:
        raw = features[part] @ search.features.T
        return top_k(weight * space.cosine(predicted[part]) + (1 - weight) * raw, unwanted.DEPTH)

    return in_chunks(len(tags), len(search.features), fused)


def _rows_without(
    search: SearchBaseline, features: Float32Array, index: TagTable, tags: Int64Array
) -> Int64Array:
    """The rows of a late fusion that never finds what carries the question's tag; -1 where too few are
    left.
    """

    def left(part: slice) -> Int64Array:
        carried = _carry(index, tags[part]) > 0
        scores = np.where(carried, np.float32(-np.inf), search.scores(features[part]))
        found = top_k(scores, unwanted.DEPTH)
        found[~np.isfinite(np.take_along_axis(scores, found, axis=1))] = -1
        return found

    return in_chunks(len(tags), len(search.features), left)


def _filtered(questions: Questions, features: Float32Array, tags: Int64Array, k: int) -> Int64Array:
    """The rows of what carries each question's tag, by likeness, and then of what does not."""
    index = questions.known_index_tags

    def filtered(part: slice) -> Int64Array:
        likeness = features[part] @ questions.index_features.T
        return contexts.filtered_rows(likeness, _carry(index, tags[part]), k)

    return in_chunks(len(tags), len(questions.index_features), filtered)


def _carry(index: TagTable, tags: Int64Array) -> Float32Array:
    """[len(tags), num_indexed]: 1 where an indexed image carries the tag."""
    return np.asarray(index.matrix.tocsc()[:, tags].toarray().T, dtype=np.float32)


def _one_tag(tags: Int64Array, num_tags: int) -> TagTable:
    return TagTable.from_pairs(np.arange(len(tags), dtype=np.int64), tags, len(tags), num_tags)


def with_one_tag(
    questions: Questions,
    presets: Mapping[str, Engine],
    baselines: Baselines,
    systems: Systems,
    seed: int,
    quick: bool,
) -> Part:
    """One of a picture's tags is known. The baselines rank what carries it by likeness, compare with that tag
    alone, or take it as certain among what the perceptron predicts.
    """
    queries, index = questions.known_query_tags, questions.known_index_tags
    asked = told.told_queries(queries, limit=200 if quick else 2000, seed=seed)
    if not len(asked.tags):
        return Part("told", told.TITLE, not_applicable="no held-out image has two tags")
    features = questions.query_features[asked.images]
    results = {
        RAW: BaselineSystem(SearchBaseline(questions.index_features)).rows(features, told.DEPTH),
        HARD_FILTER: _filtered(questions, features, asked.tags, told.DEPTH),
    }
    name = f"{MLP} + raw"
    if name in baselines.searches:
        search, one = baselines.searches[name], _one_tag(asked.tags, index.num_tags)
        results["tag space + raw"] = BaselineSystem(search).rows(features, told.DEPTH, one.dense())
        results[f"{name}, {CERTAIN}"] = _rows_told(search, features, asked.tags, 1.0)
    for preset, engine in presets.items():
        system = EngineSystem(engine)
        vectors = system.image_queries(features, _one_tag(asked.tags, index.num_tags), "mixed")
        results[preset] = system.rows(vectors, DEFAULT_VISUAL_WEIGHT, told.DEPTH)
    return told.told(results, asked, questions.query_tags, questions.index_tags, systems, seed=seed)


def disambiguated(
    questions: Questions,
    presets: Mapping[str, Engine],
    baselines: Baselines,
    systems: Systems,
    seed: int,
    quick: bool,
) -> Part:
    """Figure 6 of the paper. The baselines rank what carries the tag by likeness to the picture, or take the
    tag as certain among what the perceptron predicts.
    """
    queries, index = questions.known_query_tags, questions.known_index_tags
    asked = contexts.context_queries(queries, index, limit=80 if quick else 400, seed=seed)
    if not len(asked.tags):
        reason = "no tag is found in two contexts that held-out images show"
        return Part("contexts", contexts.TITLE, not_applicable=reason)
    images, tags = asked.images.ravel(), np.repeat(asked.tags, 2)
    features = questions.query_features[images]
    filtered = _filtered(questions, features, tags, contexts.DEPTH)
    results = {HARD_FILTER: filtered.reshape(-1, 2, contexts.DEPTH)}
    name = f"{MLP} + raw"
    if name in baselines.searches:
        found = _rows_told(baselines.searches[name], features, tags, 1.0)[:, : contexts.DEPTH]
        results[f"{name}, {CERTAIN}"] = found.reshape(-1, 2, contexts.DEPTH)
    one_tag = _one_tag(tags, index.num_tags)
    for name, engine in presets.items():
        system = EngineSystem(engine)
        vectors = system.image_queries(features, one_tag, "mixed")
        found = system.rows(vectors, DEFAULT_VISUAL_WEIGHT, contexts.DEPTH)
        results[name] = found.reshape(-1, 2, contexts.DEPTH)
    return contexts.contexts(results, asked, index, systems, seed=seed)
