"""Part 7: words that nobody tagged with. Synonyms of tags, and captions as free text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gnn.evaluation.intervals import Interval, bootstrap
from gnn.evaluation.metrics import Float64Array
from gnn.evaluation.protocol.graded import graded_ndcg
from gnn.evaluation.relevance import TagTable
from gnn.evaluation.results import Part, Row, Systems
from graph_store.arrays import Int64Array

SYNONYM_TITLE = "Words: synonyms of tags as free text; recall@10: of the images that carry it, at most ten"
CAPTION_TITLE = "Words: captions as free text; is the captioned image among the first ten?"


def carrying_share(rows: Int64Array, asked: Int64Array, index: TagTable, k: int = 10) -> Float64Array:
    """Share of the first k results that carry the asked tag, out of the min(k, carriers) that could.

    rows: [num_queries, >= k]; asked: [num_queries] tag columns. NaN for a tag that no image carries.
    """
    value = np.full(len(asked), np.nan)
    carriers = index.counts()
    by_tag = index.matrix.tocsc()
    for i, tag in enumerate(asked):
        if carriers[tag]:
            hit = np.isin(rows[i, :k], by_tag.indices[by_tag.indptr[tag] : by_tag.indptr[tag + 1]])
            value[i] = hit.sum() / min(k, carriers[tag])
    return value


def synonyms(
    results: Mapping[str, Int64Array], asked: Int64Array, index: TagTable, systems: Systems, *, seed: int = 0
) -> Part:
    """results: {system: [num_synonyms, >= 10] rows}; asked: [num_synonyms] the tag that each stands for."""
    rows = []
    for name, retrieved in results.items():
        figures: dict[str, Interval] = {
            "recall@10": bootstrap(carrying_share(retrieved, asked, index), groups=asked, seed=seed)
        }
        rows.append(Row(name, systems.kind(name), figures))
    return Part("synonyms", SYNONYM_TITLE, tuple(rows), notes=(f"{len(asked)} synonyms",))


def captions(
    indexed: Mapping[str, Int64Array],
    own_row: Int64Array,
    held_out: Mapping[str, Int64Array],
    queries: TagTable,
    index: TagTable,
    systems: Systems,
    *,
    seed: int = 0,
) -> Part:
    """Captions of indexed images look for the image itself, those of held-out images for the same tags.

    indexed: {system: [num_captions, >= 10] rows}; own_row: [num_captions] the captioned image; held_out:
    {system: [num_queries, >= 10] rows}; queries: the tags of the held-out images, in that order. Either may
    be empty.
    """
    graded = graded_ndcg(held_out, queries, index, (10,)) if held_out else {}
    rows = []
    for name in indexed or held_out:
        figures: dict[str, Interval] = {}
        if name in indexed:
            hit = (indexed[name][:, :10] == own_row[:, None]).any(axis=1).astype(np.float64)
            figures["recall@10"] = bootstrap(hit, seed=seed)
        if name in graded:
            figures["nDCG@10, held out"] = bootstrap(graded[name][10], seed=seed)
        rows.append(Row(name, systems.kind(name), figures))
    return Part("captions", CAPTION_TITLE, tuple(rows), notes=(f"{len(own_row)} captions of indexed images",))
