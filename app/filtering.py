"""Which images may be found: conditions over tags and attributes, turned into rows before the vector search.

For each attribute that a filter names, an inverted map of the snapshot is built once, when it is first asked
for.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from graph_store.arrays import BoolArray, Int64Array

_NOTHING: Int64Array = np.zeros(0, dtype=np.int64)
_KEPT_RESULTS = 64
_KEPT_COLUMNS = 128
"""Who asks decides the names of columns, so they must not pile up."""

ScalarKey = tuple[str, str | float | bool]


class RangeLike(Protocol):
    """Bounds, each absent as None."""

    @property
    def gt(self) -> Any: ...
    @property
    def gte(self) -> Any: ...
    @property
    def lt(self) -> Any: ...
    @property
    def lte(self) -> Any: ...


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


def scalar_key(value: Any) -> ScalarKey | None:
    """A key that is equal for equal values: 1 is 1.0, but neither is true. None for what is no scalar."""
    if isinstance(value, bool):
        return ("b", value)
    if isinstance(value, int | float):
        # As it is, not as a float: whole numbers above 2⁵³, such as the ids of many systems, stay apart.
        return ("n", value)
    if isinstance(value, str):
        return ("s", value)
    return None


@dataclass(frozen=True, eq=False)
class AttributeColumn:
    """One attribute over all rows. A list counts as each of its elements."""

    equal: dict[ScalarKey, Int64Array]
    present: Int64Array
    numbers: list[int | float] = field(default_factory=list)
    number_rows: Int64Array = field(default_factory=lambda: _NOTHING)
    strings: list[str] = field(default_factory=list)
    string_rows: Int64Array = field(default_factory=lambda: _NOTHING)

    @classmethod
    def build(cls, values: Iterable[Any]) -> AttributeColumn:
        """`values` has one entry for each row, None where there is none."""
        equal: defaultdict[ScalarKey, list[int]] = defaultdict(list)
        present: list[int] = []
        numbers: list[tuple[int | float, int]] = []
        strings: list[tuple[str, int]] = []
        for row, value in enumerate(values):
            if value is None or value == []:
                continue
            present.append(row)
            elements = value if isinstance(value, list) else [value]
            for key in {scalar_key(element) for element in elements}:
                if key is None:
                    continue
                equal[key].append(row)
                kind, plain = key
                if kind == "n":
                    assert not isinstance(plain, str)
                    numbers.append((plain, row))
                elif kind == "s":
                    strings.append((str(plain), row))
        numbers.sort()
        strings.sort()
        return cls(
            equal={key: np.asarray(rows, dtype=np.int64) for key, rows in equal.items()},
            present=np.asarray(present, dtype=np.int64),
            numbers=[number for number, _ in numbers],
            number_rows=np.asarray([row for _, row in numbers], dtype=np.int64),
            strings=[string for string, _ in strings],
            string_rows=np.asarray([row for _, row in strings], dtype=np.int64),
        )

    def within(self, bounds: RangeLike) -> Int64Array:
        """Rows with a value inside the bounds; strings and numbers never compare with each other."""
        given = [bound for bound in (bounds.gt, bounds.gte, bounds.lt, bounds.lte) if bound is not None]
        if given and isinstance(given[0], str):
            return self.string_rows[_span(self.strings, bounds)]
        return self.number_rows[_span(self.numbers, bounds)]


def _span(values: list[Any], bounds: RangeLike) -> slice:
    low, high = 0, len(values)
    if bounds.gt is not None:
        low = max(low, bisect_right(values, bounds.gt))
    if bounds.gte is not None:
        low = max(low, bisect_left(values, bounds.gte))
    if bounds.lt is not None:
        high = min(high, bisect_left(values, bounds.lt))
    if bounds.lte is not None:
        high = min(high, bisect_right(values, bounds.lte))
    return slice(low, max(low, high))


def value_at(attributes: Mapping[str, Any], key: str) -> Any:
    """The value of `key`; where no attribute has that name, a.b is looked up as b inside a."""
    if key in attributes:
        return attributes[key]
    value: Any = attributes
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


class Filters(Protocol):
    """Which rows pass a filter."""

    def known(self, name: str) -> Int64Array | None:
        """The rows of a filter that `allowed` has evaluated lately under this name."""

    def allowed(self, row_filter: RowFilter, name: str) -> Int64Array:
        """The rows that pass, sorted, [n] int64; equal filters have equal names."""


class FilterIndex:
    """Evaluates filters over the rows of one snapshot. Safe to use from several threads.

    `rows_of_tag(name)` gives the rows [n] int64 of a tag by its name, in any case; `tagged()` those with any
    tag; `attributes()` yields the attributes of each row in order.
    """

    def __init__(
        self,
        num_rows: int,
        rows_of_tag: Callable[[str], Int64Array],
        tagged: Callable[[], Int64Array],
        attributes: Callable[[], Iterable[Mapping[str, Any]]],
    ) -> None:
        self._num_rows = num_rows
        self._rows_of_tag = rows_of_tag
        self._tagged = tagged
        self._attributes = attributes
        self._columns: OrderedDict[str, AttributeColumn] = OrderedDict()
        self._results: OrderedDict[str, Int64Array] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, name: str) -> Int64Array | None:
        """The rows of a filter that `allowed` has evaluated lately under this name."""
        with self._lock:
            rows = self._results.get(name)
            if rows is not None:
                self._results.move_to_end(name)
            return rows

    def allowed(self, row_filter: RowFilter, name: str) -> Int64Array:
        """The rows that pass, sorted, [n] int64. `name` stands for the filter (its JSON): equal filters,
        equal names.
        """
        rows = self.known(name)
        if rows is not None:
            return rows
        rows = np.flatnonzero(self._mask(row_filter)).astype(np.int64, copy=False)
        rows.flags.writeable = False
        with self._lock:
            self._results[name] = rows
            while len(self._results) > _KEPT_RESULTS:
                self._results.popitem(last=False)
        return rows

    def _mask(self, row_filter: RowFilter) -> BoolArray:
        mask: BoolArray = np.ones(self._num_rows, dtype=np.bool_)
        for clause in row_filter.must:
            mask &= self._holds(clause)
        if row_filter.should:
            any_of: BoolArray = np.zeros(self._num_rows, dtype=np.bool_)
            for clause in row_filter.should:
                any_of |= self._holds(clause)
            mask &= any_of
        for clause in row_filter.must_not:
            mask &= ~self._holds(clause)
        return mask

    def _holds(self, clause: Clause) -> BoolArray:
        mask: BoolArray = np.zeros(self._num_rows, dtype=np.bool_)
        if clause.operator == "exists":
            present = self._tagged() if clause.key == "tags" else self._column(clause.key).present
            mask[present] = True
            return mask if clause.value else ~mask
        for rows in self._rows(clause):
            mask[rows] = True
        return mask

    def _rows(self, clause: Clause) -> Iterable[Int64Array]:
        asked = clause.value if clause.operator == "any" else [clause.value]
        if clause.key == "tags":
            return [self._rows_of_tag(name) for name in asked]
        column = self._column(clause.key)
        if clause.operator == "range":
            return [column.within(clause.value)]
        keys = (scalar_key(value) for value in asked)
        return [column.equal.get(key, _NOTHING) for key in keys if key is not None]

    def _column(self, key: str) -> AttributeColumn:
        with self._lock:
            column = self._columns.get(key)
            if column is not None:
                self._columns.move_to_end(key)
                return column
        # Two threads may both build it; the results are equal, so whichever stays is right.
        column = AttributeColumn.build(value_at(attributes, key) for attributes in self._attributes())
        with self._lock:
            self._columns[key] = column
            while len(self._columns) > _KEPT_COLUMNS:
                self._columns.popitem(last=False)
        return column
