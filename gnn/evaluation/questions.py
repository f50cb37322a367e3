"""The data of one evaluation: indexed images, held-out queries and their tags, lined up as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from gnn.evaluation.baselines import unit_rows
from gnn.evaluation.relevance import TagTable
from graph_store.arrays import Float32Array, Int64Array
from graph_store.errors import BadInput
from graph_store.records import ImageRecord

NO_TEST_SPLIT = "The catalogue has no test split, so there is nothing to evaluate with"
HOW_TO_SPLIT = (
    'Give some rows "split": "test" in tags.jsonl (one in five, say) and build again; '
    "they are kept out of the graph and used as queries."
)


@dataclass(frozen=True, eq=False)
class Questions:
    """Indexed images and held-out queries with everything that is known about them.

    index_features [num_indexed, feature_dim], query_features [num_queries, feature_dim]: raw, unit rows.
    index_tags, query_tags: true tags over the columns `tag_names`; the first `num_known_tags` columns are
    the index's own vocabulary, the rest occur on held-out images only, so that nobody can find them and
    everybody loses the same by them.
    """

    tag_names: tuple[str, ...]
    num_known_tags: int
    index_records: tuple[ImageRecord, ...]
    query_records: tuple[ImageRecord, ...]
    index_features: Float32Array
    query_features: Float32Array
    index_tags: TagTable
    query_tags: TagTable

    @classmethod
    def build(
        cls,
        index_ids: Sequence[str],
        known_tags: Sequence[str],
        train: Iterable[ImageRecord],
        test: Iterable[ImageRecord],
        features: Float32Array,
        *,
        limit: int = 2000,
        seed: int = 0,
    ) -> Questions:
        """Line records up with the index's own order.

        index_ids: by index row; known_tags: by tag column; features: the feature file, by record row. More
        than `limit` held-out images are thinned out at random. Raises BadInput when nothing is held out or
        an indexed image is no longer in the catalogue.
        """
        by_id = {record.id: record for record in train}
        gone = [image_id for image_id in index_ids if image_id not in by_id]
        if gone:
            raise BadInput(
                f"{len(gone)} indexed images are no longer in the catalogue's train split, {gone[0]} for one",
                hint="Run imsage reindex first.",
            )
        held_out = list(test)
        if not held_out:
            raise BadInput(NO_TEST_SPLIT, hint=HOW_TO_SPLIT)
        if len(held_out) > limit:
            chosen = np.sort(np.random.default_rng(seed).permutation(len(held_out))[:limit])
            held_out = [held_out[i] for i in chosen]
        indexed = [by_id[image_id] for image_id in index_ids]
        column = {name.casefold(): i for i, name in enumerate(known_tags)}
        names = list(known_tags)
        for record in (*indexed, *held_out):
            for tag in record.tags:
                if column.setdefault(tag.name.casefold(), len(names)) == len(names):
                    names.append(tag.name)
        return cls(
            tag_names=tuple(names),
            num_known_tags=len(known_tags),
            index_records=tuple(indexed),
            query_records=tuple(held_out),
            index_features=_rows(features, indexed),
            query_features=_rows(features, held_out),
            index_tags=_table(indexed, column, len(names)),
            query_tags=_table(held_out, column, len(names)),
        )

    @property
    def known_index_tags(self) -> TagTable:
        """The indexed images' tags over the index's own vocabulary only."""
        return TagTable(self.index_tags.matrix[:, : self.num_known_tags].tocsr())

    @property
    def known_query_tags(self) -> TagTable:
        """The held-out images' tags over the index's own vocabulary only."""
        return TagTable(self.query_tags.matrix[:, : self.num_known_tags].tocsr())

    def counts(self) -> tuple[Any, Any] | str:
        """(query_counts, index_counts) sparse [images, num_tags], or why there are none.

        From the attribute `counts` ({tag: number}). A tag without a number counts as one object.
        """
        for label, records in (("held-out", self.query_records), ("indexed", self.index_records)):
            if not any(isinstance(record.attributes.get("counts"), dict) for record in records):
                return f'no {label} image has object counts (an attribute "counts": {{tag: number}})'
        column = {name.casefold(): i for i, name in enumerate(self.tag_names)}
        return (
            _count_matrix(self.query_records, column, self.query_tags),
            _count_matrix(self.index_records, column, self.index_tags),
        )


def captions_of(record: ImageRecord) -> tuple[str, ...]:
    """All captions of an image: its attribute `captions`, or its single caption."""
    several = record.attributes.get("captions")
    if isinstance(several, list):
        return tuple(text for text in several if isinstance(text, str) and text.strip())
    return (record.caption,) if record.caption and record.caption.strip() else ()


def _rows(features: Float32Array, records: Sequence[ImageRecord]) -> Float32Array:
    chosen: Int64Array = np.array([record.row for record in records], dtype=np.int64)
    return unit_rows(np.asarray(features[chosen]))


def _table(records: Sequence[ImageRecord], column: Mapping[str, int], num_tags: int) -> TagTable:
    pairs = [(i, column[tag.name.casefold()]) for i, record in enumerate(records) for tag in record.tags]
    images, tags = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return TagTable.from_pairs(images, tags, len(records), num_tags)


def _count_matrix(records: Sequence[ImageRecord], column: Mapping[str, int], tags: TagTable) -> Any:
    counts = tags.matrix.astype(np.int64).tolil()
    for i, record in enumerate(records):
        given = record.attributes.get("counts")
        for name, number in given.items() if isinstance(given, dict) else ():
            place = column.get(str(name).casefold())
            if place is not None and isinstance(number, int | float) and number > 0:
                counts[i, place] = int(number)
    return sparse.csr_matrix(counts)
