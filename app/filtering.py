"""Which images may be found: conditions over tags and attributes, made into rows before the vector search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from app.attribute_columns import NO_ROWS, AttributeColumn, AttributeColumns, scalar_key
from app.kept_rows import KeptRows
from graph_store.arrays import BoolArray, Int64Array

TAGS = "tags"
"""The key of a condition on the tags; every other one names an attribute."""
_ABSENT = AttributeColumn()

Operator = Literal["match", "any", "range", "exists"]


@dataclass(frozen=True)
class Clause:
    """One condition. `value` is a scalar (match), a list of scalars (any), a `RangeLike` (range) or a bool
    (exists).
    """

    key: str
    operator: Operator
    value: Any


@dataclass(frozen=True)
class RowFilter:
    """All of `must`, at least one of `should` if there are any, none of `must_not`."""

    must: tuple[Clause, ...] = ()
    should: tuple[Clause, ...] = ()
    must_not: tuple[Clause, ...] = ()


class Filters(Protocol):
    """Which rows pass a filter."""

    def known(self, name: str) -> Int64Array | None:
        """The rows of a filter that `allowed` has evaluated lately under this name."""

    def allowed(self, row_filter: RowFilter, name: str) -> Int64Array:
        """The rows that pass, sorted, [n] int64; equal filters have equal names."""


class FilterIndex:
    """Evaluates filters over the rows of one snapshot. Safe to use from several threads.

    `rows_of_tag(name)` gives the rows [n] int64 of a tag by its name, in any case; `tagged()` those with any
    tag; `attributes()` yields the attributes of each row in order. Results are kept in `kept`.
    """

    def __init__(
        self,
        num_rows: int,
        rows_of_tag: Callable[[str], Int64Array],
        tagged: Callable[[], Int64Array],
        attributes: Callable[[], Iterable[Mapping[str, Any]]],
        kept: KeptRows | None = None,
    ) -> None:
        self._num_rows = num_rows
        self._rows_of_tag = rows_of_tag
        self._tagged = tagged
        self._columns = AttributeColumns(attributes)
        self._results = (kept or KeptRows()).of_one()

    def known(self, name: str) -> Int64Array | None:
        """The rows of a filter that `allowed` has evaluated lately under this name."""
        return self._results.get(name)

    def allowed(self, row_filter: RowFilter, name: str) -> Int64Array:
        """The rows that pass, sorted, [n] int64. `name` stands for the filter (its JSON): equal filters,
        equal names.
        """
        rows = self.known(name)
        if rows is not None:
            return rows
        rows = np.flatnonzero(self._mask(row_filter)).astype(np.int64, copy=False)
        rows.flags.writeable = False
        self._results.put(name, rows)
        return rows

    def _mask(self, row_filter: RowFilter) -> BoolArray:
        clauses = (*row_filter.must, *row_filter.should, *row_filter.must_not)
        columns = self._columns.of(dict.fromkeys(clause.key for clause in clauses if clause.key != TAGS))
        mask: BoolArray = np.ones(self._num_rows, dtype=np.bool_)
        for clause in row_filter.must:
            mask &= self._holds(clause, columns)
        if row_filter.should:
            any_of: BoolArray = np.zeros(self._num_rows, dtype=np.bool_)
            for clause in row_filter.should:
                any_of |= self._holds(clause, columns)
            mask &= any_of
        for clause in row_filter.must_not:
            mask &= ~self._holds(clause, columns)
        return mask

    def _holds(self, clause: Clause, columns: Mapping[str, AttributeColumn]) -> BoolArray:
        mask: BoolArray = np.zeros(self._num_rows, dtype=np.bool_)
        column = columns.get(clause.key, _ABSENT)
        if clause.operator == "exists":
            mask[self._tagged() if clause.key == TAGS else column.present] = True
            return mask if clause.value else ~mask
        for rows in self._rows(clause, column):
            mask[rows] = True
        return mask

    def _rows(self, clause: Clause, column: AttributeColumn) -> Iterable[Int64Array]:
        asked = clause.value if clause.operator == "any" else [clause.value]
        if clause.key == TAGS:
            return [self._rows_of_tag(name) for name in asked]
        if clause.operator == "range":
            return [column.within(clause.value)]
        keys = (scalar_key(value) for value in asked)
        return [column.equal.get(key, NO_ROWS) for key in keys if key is not None]
