"""Asks the systems in free words: synonyms of the catalogue's tags, and captions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gnn.encoders.base import TextEncoder
from gnn.evaluation.protocol.graded import graded_ndcg
from gnn.evaluation.protocol.words import CAPTION_TITLE, SYNONYM_TITLE, captions, carrying_share, synonyms
from gnn.evaluation.questions import Questions, captions_of
from gnn.evaluation.results import Part, Systems
from gnn.evaluation.synonyms import synonym_queries
from gnn.evaluation.systems import DEFAULT_VISUAL_WEIGHT, Engine, EngineSystem
from gnn.evaluation.text_baseline import (
    MIXED,
    NAME,
    STANDING,
    TagsInText,
    standing_rows,
    tune_share,
    tune_text_baseline,
)
from graph_store.arrays import Float32Array, Int64Array
from graph_store.records import ImageRecord

MOST_CAPTIONS = 1000


def words(
    questions: Questions,
    presets: Mapping[str, Engine],
    encoder: TextEncoder | None,
    systems: Systems,
    seed: int,
    quick: bool,
) -> tuple[Part, Part]:
    """Part 7: synonyms and captions."""
    no_tags = not questions.known_index_tags.matrix.nnz
    if encoder is None or no_tags:
        reason = "no indexed image has a tag" if no_tags else "there is no text encoder"
        return (
            Part("synonyms", SYNONYM_TITLE, not_applicable=reason),
            Part("captions", CAPTION_TITLE, not_applicable=reason),
        )
    names = encoder.encode_text(questions.tag_names[: questions.num_known_tags])
    return (
        _synonyms(questions, presets, encoder, names, systems, seed),
        _captions(questions, presets, encoder, names, systems, seed, 200 if quick else MOST_CAPTIONS),
    )


def _search(presets: Mapping[str, Engine], texts: list[str]) -> dict[str, Int64Array]:
    """The first ten of every preset for every text."""
    found = {}
    for name, engine in presets.items():
        system = EngineSystem(engine)
        found[name] = system.rows(system.text_queries(texts), DEFAULT_VISUAL_WEIGHT, 10)
    return found


def _synonyms(
    questions: Questions,
    presets: Mapping[str, Engine],
    encoder: TextEncoder,
    names: Float32Array,
    systems: Systems,
    seed: int,
) -> Part:
    """The baseline's settings are the best for these very words, which favours it: too few to split."""
    index = questions.known_index_tags
    counts = index.counts()
    column = {name: i for i, name in enumerate(questions.tag_names[: questions.num_known_tags])}
    pairs = [(word, tag) for word, tag in synonym_queries(column) if counts[column[tag]] > 0]
    if not pairs:
        reason = "the built-in list has no synonym for any tag of this catalogue"
        return Part("synonyms", SYNONYM_TITLE, not_applicable=reason)
    texts = [word for word, _ in pairs]
    asked = np.array([column[tag] for _, tag in pairs], dtype=np.int64)
    vectors = encoder.encode_text(texts)

    def quality(rows: Int64Array) -> float:
        return float(np.nanmean(carrying_share(rows, asked, index)))

    baseline = tune_text_baseline(names, index, vectors, quality)
    results = {NAME: baseline.search(vectors, 10), **_search(presets, texts)}
    return synonyms(results, asked, index, systems, seed=seed)


def _captions(
    questions: Questions,
    presets: Mapping[str, Engine],
    encoder: TextEncoder,
    names: Float32Array,
    systems: Systems,
    seed: int,
    most: int,
) -> Part:
    """One random caption an image. The baselines are tuned on captions of other indexed images."""
    rng = np.random.default_rng(seed)
    indexed = _one_caption_each(questions.index_records, 2 * most, rng)
    held_out = _one_caption_each(questions.query_records, most, rng)
    if len(indexed) < 4:
        reason = 'hardly any indexed image has a caption (a "caption", or an attribute "captions": [...])'
        return Part("captions", CAPTION_TITLE, not_applicable=reason)
    index = questions.known_index_tags
    tuning, asked = indexed[: len(indexed) // 2], indexed[len(indexed) // 2 :]
    own = np.array([row for row, _ in tuning], dtype=np.int64)

    def quality(rows: Int64Array) -> float:
        # Finding the very image is rare, so near misses count too: they decide among equals.
        hit = (rows == own[:, None]).any(axis=1).mean()
        near = graded_ndcg({"": rows}, index.rows(own), index, (10,))[""][10]
        return float(hit) + (float(np.nanmean(near)) if np.isfinite(near).any() else 0.0)

    tags_in = TagsInText(questions.tag_names[: questions.num_known_tags])
    texts_of_tuning = [text for _, text in tuning]
    vectors_of_tuning = encoder.encode_text(texts_of_tuning)
    baseline = tune_text_baseline(names, index, vectors_of_tuning, quality)
    share = tune_share(tags_in(texts_of_tuning), baseline, vectors_of_tuning, quality)

    def answers(texts: list[str]) -> dict[str, Int64Array]:
        vectors, standing = encoder.encode_text(texts), tags_in(texts)
        return {
            NAME: baseline.search(vectors, 10),
            STANDING: standing_rows(standing, baseline, vectors, 1.0, 10),
            MIXED: standing_rows(standing, baseline, vectors, share, 10),
            **_search(presets, texts),
        }

    return captions(
        answers([text for _, text in asked]),
        np.array([row for row, _ in asked], dtype=np.int64),
        answers([text for _, text in held_out]) if held_out else {},
        questions.query_tags.rows(np.array([row for row, _ in held_out], dtype=np.int64)),
        questions.index_tags,
        systems,
        seed=seed,
    )


def _one_caption_each(
    records: tuple[ImageRecord, ...], most: int, rng: np.random.Generator
) -> list[tuple[int, str]]:
    """(row, caption) of up to `most` images in random order."""
    chosen: list[tuple[int, str]] = []
    for row in rng.permutation(len(records)):
        texts = captions_of(records[row])
        if texts and len(chosen) < most:
            chosen.append((int(row), texts[int(rng.integers(len(texts)))]))
    return chosen
