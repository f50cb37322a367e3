"""Attributes of images by value: for each attribute that a filter names, an inverted map of all rows.

Who asks decides the names. All columns that one filter lacks are made in one reading of the rows, and which
names occur at all is remembered from the first: one that no row has costs nothing and takes no room.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from graph_store.arrays import Int64Array

LONGEST_NAME = 300
"""Characters of the name of an attribute that a filter may ask for, that of a nested one with its dots."""

NO_ROWS: Int64Array = np.zeros(0, dtype=np.int64)
_KEPT_COLUMNS = 128
_KEPT_NAMES = 100_000
"""A catalogue may name its attributes by what they hold. Beyond this many, what occurs is not remembered."""

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

    equal: Mapping[ScalarKey, Int64Array] = field(default_factory=dict)
    present: Int64Array = field(default_factory=lambda: NO_ROWS)
    numbers: list[int | float] = field(default_factory=list)
    number_rows: Int64Array = field(default_factory=lambda: NO_ROWS)
    strings: list[str] = field(default_factory=list)
    string_rows: Int64Array = field(default_factory=lambda: NO_ROWS)

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


class _Building:
    """A column while its rows are read, in order."""

    def __init__(self) -> None:
        self._equal: defaultdict[ScalarKey, list[int]] = defaultdict(list)
        self._present: list[int] = []
        self._numbers: list[tuple[int | float, int]] = []
        self._strings: list[tuple[str, int]] = []

    def add(self, row: int, value: Any) -> None:
        if value is None or value == []:
            return
        self._present.append(row)
        elements = value if isinstance(value, list) else [value]
        for key in {scalar_key(element) for element in elements}:
            if key is None:
                continue
            self._equal[key].append(row)
            kind, plain = key
            if kind == "n":
                assert not isinstance(plain, str)
                self._numbers.append((plain, row))
            elif kind == "s":
                self._strings.append((str(plain), row))

    def column(self) -> AttributeColumn:
        self._numbers.sort()
        self._strings.sort()
        return AttributeColumn(
            equal={key: np.asarray(rows, dtype=np.int64) for key, rows in self._equal.items()},
            present=np.asarray(self._present, dtype=np.int64),
            numbers=[number for number, _ in self._numbers],
            number_rows=np.asarray([row for _, row in self._numbers], dtype=np.int64),
            strings=[string for string, _ in self._strings],
            string_rows=np.asarray([row for _, row in self._strings], dtype=np.int64),
        )


def by_name(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a filter may ask for, by name: b inside a is a.b, unless an attribute has that name itself. A dot
    in the name of a or b is not gone through. Of what is nested, only names up to LONGEST_NAME are there.
    """
    below: dict[str, Any] = {}
    left = [(name, value) for name, value in attributes.items() if _is_gone_through(name, value)]
    while left:
        name, inside = left.pop()
        for part, value in inside.items():
            path = f"{name}.{part}"
            if "." in part or len(path) > LONGEST_NAME:
                continue
            below[path] = value
            if _is_gone_through(part, value):
                left.append((path, value))
    return {**below, **attributes} if below else attributes


def _is_gone_through(name: str, value: Any) -> bool:
    return isinstance(value, Mapping) and "." not in name


class AttributeColumns:
    """The columns of some rows, made when they are first asked for. Safe to use from several threads.

    `attributes()` yields the attributes of each row, in order.
    """

    def __init__(self, attributes: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._attributes = attributes
        self._kept: OrderedDict[str, AttributeColumn] = OrderedDict()
        self._names: frozenset[str] | None = None
        self._too_many_names = False
        self._lock = threading.Lock()

    def of(self, names: Iterable[str]) -> dict[str, AttributeColumn]:
        """The columns of those of the names that any row has a value for."""
        found: dict[str, AttributeColumn] = {}
        missing: list[str] = []
        with self._lock:
            for name in names:
                if name in self._kept:
                    self._kept.move_to_end(name)
                    found[name] = self._kept[name]
                elif self._names is None or name in self._names:
                    missing.append(name)
        if not missing:
            return found
        # Two threads may both make one; the results are equal, so whichever stays is right.
        made = self._made(missing)
        with self._lock:
            self._kept.update(made)
            while len(self._kept) > _KEPT_COLUMNS:
                self._kept.popitem(last=False)
        return found | made

    def _made(self, wanted: Iterable[str]) -> dict[str, AttributeColumn]:
        """The columns of what occurs of `wanted`, from one reading of all rows."""
        building = {name: _Building() for name in wanted}
        names: set[str] | None = None if self._names is not None or self._too_many_names else set()
        for row, attributes in enumerate(self._attributes()):
            values = by_name(attributes)
            if names is not None:
                names.update(values)
                if len(names) > _KEPT_NAMES:
                    names, self._too_many_names = None, True
            for name in building.keys() & values.keys():
                building[name].add(row, values[name])
        columns = {name: begun.column() for name, begun in building.items()}
        empty = {name for name, column in columns.items() if not column.present.size}
        with self._lock:
            known = self._names if names is None else frozenset(names)
            # Neither of a name that occurs, but without any value, is more to be learnt.
            self._names = None if known is None else known - empty
        return {name: column for name, column in columns.items() if name not in empty}
