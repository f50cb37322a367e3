"""One snapshot together with what was written since: what a search answers from while there is a delta."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from app.filtering import FilterIndex, Filters, RowFilter
from app.kept_rows import KeptRows
from app.live.delta import Delta
from app.neighbours import NamedEdge, named
from app.serving_state import ServingState
from gnn.live import LiveEngine
from graph_store.arrays import BoolArray, Int64Array
from graph_store.tag_names import tag_key


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveState(ServingState):
    """A snapshot and one delta. Like every state it never changes: a further write makes another one."""

    engine: LiveEngine
    base: ServingState
    delta: Delta

    @classmethod
    def of(cls, base: ServingState, delta: Delta) -> LiveState:
        """The snapshot `base` with that delta."""
        return cls(
            snapshot=base.snapshot,
            engine=LiveEngine(base.engine, delta.pictures),
            records=base.records,
            pace=base.pace,
            kept_rows=base.kept_rows,
            base=base,
            delta=delta,
        )

    @property
    def delta_counts(self) -> dict[str, int]:
        """What the catalogue holds beyond the snapshot."""
        delta = self.delta
        return {"images": len(delta.images), "replaced": delta.replaced, "deleted": delta.deleted}

    @property
    def tag_numbers(self) -> dict[str, int]:
        """Tag index by `tag_key` of its name: a write brings the snapshot no new ones."""
        return self.base.tag_numbers

    @cached_property
    def tag_counts(self) -> dict[str, int]:
        """How many images that can be found carry each tag."""
        counts = Counter(self.base.tag_counts)
        names, engine = self.engine.tag_names, self.base.engine
        for row in self.delta.pictures.removed.tolist():
            counts.subtract(names[tag] for tag in engine.tags_of(row).tolist())
        for image in self.delta.images:
            counts.update(tag.name for tag in image.record.tags)
        return {name: count for name, count in counts.items() if count > 0}

    @cached_property
    def filters(self) -> LiveFilters:
        """Filters over the rows that can be found."""
        return LiveFilters(self.base.filters, self.delta, self.kept_rows)

    def fragments(self, rows: Sequence[int]) -> list[bytes]:
        """What hits show, as JSON objects."""
        pictures, images = self.delta.pictures, self.delta.images
        found = []
        for row in rows:
            if self.engine.is_live(row):
                found.append(images[int(np.searchsorted(pictures.rows, row))].fragment)
            else:
                found.append(self.records.fragment(row))
        return found

    def neighbours(self, row: int) -> dict[str, Any]:
        """The edges of an image, as JSON values. A picture beside the snapshot shows the tags that it has,
        and the relations of those that the snapshot knows.
        """
        tags: list[NamedEdge]
        if self.engine.is_live(row):
            place = int(np.searchsorted(self.delta.pictures.rows, row))
            tags = [(tag.name, tag.weight) for tag in self.delta.images[place].record.tags]
        else:
            tags = named(self.engine.carried.of_image.row(row), self.engine.tag_names)
        return self._neighbours(row, self.engine.similar_of(row), tags)


class LiveFilters:
    """Filters over a snapshot without its removed rows, and over the pictures beside it. Making one costs
    nothing: what takes work in proportion to the delta is done when a filter is first evaluated.
    """

    def __init__(self, base: Filters, delta: Delta, kept: KeptRows) -> None:
        self._base = base
        self._delta = delta
        self._kept = kept
        self._results = kept.of_one()

    def known(self, name: str) -> Int64Array | None:
        """The rows of a filter that `allowed` has evaluated lately under this name."""
        return self._results.get(name)

    def allowed(self, row_filter: RowFilter, name: str) -> Int64Array:
        """The rows that pass, sorted, [n] int64. `name` stands for the filter (its JSON)."""
        rows = self._without_removed(self._base.allowed(row_filter, name))
        beside = self._delta.pictures.rows[self._beside.allowed(row_filter, name)]
        if len(beside):
            rows = np.concatenate([rows, beside])
            rows.flags.writeable = False
        self._results.put(name, rows)
        return rows

    def _without_removed(self, rows: Int64Array) -> Int64Array:
        """Those of the snapshot's rows that are still there; the same array where all of them are."""
        holds = self._holds
        # Rows are sorted, so those behind the last removed one stay as they are.
        within = int(np.searchsorted(rows, len(holds)))
        first = rows[:within]
        stays = holds[first]
        if stays.all():
            return rows
        left = np.concatenate([first[stays], rows[within:]])
        left.flags.writeable = False
        return left

    @cached_property
    def _holds(self) -> BoolArray:
        """By row of the snapshot, up to the last that is removed."""
        removed = self._delta.pictures.removed
        holds: BoolArray = np.ones(int(removed[-1]) + 1 if len(removed) else 0, dtype=np.bool_)
        holds[removed] = False
        return holds

    @cached_property
    def _beside(self) -> FilterIndex:
        images = self._delta.images
        carriers: dict[str, list[int]] = {}
        for place, image in enumerate(images):
            for tag in image.record.tags:
                carriers.setdefault(tag_key(tag.name), []).append(place)
        return FilterIndex(
            num_rows=len(images),
            rows_of_tag=lambda name: np.array(carriers.get(tag_key(name), []), dtype=np.int64),
            tagged=lambda: np.flatnonzero([bool(image.record.tags) for image in images]),
            attributes=lambda: (image.record.attributes for image in images),
            kept=self._kept,
        )
