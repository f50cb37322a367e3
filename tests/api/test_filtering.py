"""Filters over tags and attributes, against a plain reading of what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.attribute_columns import LONGEST_NAME, AttributeColumns, by_name, scalar_key
from app.filtering import Clause, FilterIndex, RowFilter
from app.kept_rows import KeptRows

RECORDS: list[dict[str, Any]] = [
    {"tags": ["Dog", "beach"], "year": 2019, "place": {"city": "Rome"}, "size": [1, 2]},
    {"tags": ["cat"], "year": 2021.5, "place": {"city": "Oslo"}, "free": True},
    {"tags": [], "year": "2020-05-01", "free": False, "size": []},
    {"tags": ["dog"], "place.city": "Rome", "year": None},
    {"tags": ["beach"], "size": 2, "free": 1},
]


def index_of(records: list[dict[str, Any]], kept: KeptRows | None = None) -> FilterIndex:
    def rows_of_tag(name: str) -> Any:
        folded = name.casefold()
        return np.array(
            [i for i, r in enumerate(records) if folded in [t.casefold() for t in r["tags"]]], dtype=np.int64
        )

    def attributes() -> list[Mapping[str, Any]]:
        return [{key: value for key, value in record.items() if key != "tags"} for record in records]

    return FilterIndex(
        num_rows=len(records),
        rows_of_tag=rows_of_tag,
        tagged=lambda: np.array([i for i, r in enumerate(records) if r["tags"]], dtype=np.int64),
        attributes=attributes,
        kept=kept,
    )


def rows(**parts: list[Clause]) -> list[int]:
    row_filter = RowFilter(**{name: tuple(clauses) for name, clauses in parts.items()})
    return index_of(RECORDS).allowed(row_filter, repr(parts)).tolist()


def bounds(**given: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"gt": None, "gte": None, "lt": None, "lte": None, **given})


def test_a_tag_matches_in_any_case() -> None:
    assert rows(must=[Clause("tags", "match", "DOG")]) == [0, 3]


def test_any_of_several_tags_is_enough() -> None:
    assert rows(must=[Clause("tags", "any", ["cat", "beach", "unheard of"])]) == [0, 1, 4]


def test_must_needs_all_and_must_not_none() -> None:
    assert rows(must=[Clause("tags", "match", "dog"), Clause("tags", "match", "beach")]) == [0]
    assert rows(must=[Clause("tags", "match", "dog")], must_not=[Clause("tags", "match", "beach")]) == [3]


def test_of_should_one_must_hold_even_beside_must() -> None:
    dog = Clause("tags", "match", "dog")
    assert rows(must=[dog], should=[Clause("tags", "match", "beach"), Clause("tags", "match", "cat")]) == [0]


def test_an_empty_filter_lets_all_pass() -> None:
    assert rows() == [0, 1, 2, 3, 4]


def test_numbers_compare_with_numbers_and_strings_with_strings() -> None:
    assert rows(must=[Clause("year", "range", bounds(gte=2019, lt=2030))]) == [0, 1]
    assert rows(must=[Clause("year", "range", bounds(gt=2019))]) == [1]
    assert rows(must=[Clause("year", "range", bounds(gte="2020", lte="2020-12-31"))]) == [2]
    assert rows(must=[Clause("year", "range", bounds(gt=2030, lt=2010))]) == []


def test_a_list_holds_each_of_its_elements() -> None:
    assert rows(must=[Clause("size", "match", 2)]) == [0, 4]
    assert rows(must=[Clause("size", "range", bounds(lte=1))]) == [0]


def test_true_is_not_one() -> None:
    assert rows(must=[Clause("free", "match", True)]) == [1]
    assert rows(must=[Clause("free", "match", 1)]) == [4]
    assert rows(must=[Clause("free", "match", 1.0)]) == [4]


def test_exists_means_neither_null_nor_empty() -> None:
    assert rows(must=[Clause("year", "exists", True)]) == [0, 1, 2]
    assert rows(must=[Clause("size", "exists", False)]) == [1, 2, 3]
    assert rows(must=[Clause("tags", "exists", False)]) == [2]


def test_a_dotted_key_reaches_inside_unless_an_attribute_has_that_name() -> None:
    assert rows(must=[Clause("place.city", "match", "Rome")]) == [0, 3]
    assert by_name({"a": {"b": 1}, "a.b": 2})["a.b"] == 2
    assert "a.c" not in by_name({"a": {"b": 1}})


def test_an_attribute_that_nobody_has_matches_nothing() -> None:
    assert rows(must=[Clause("nothing", "match", "x")]) == []
    assert rows(must_not=[Clause("nothing", "match", "x")]) == [0, 1, 2, 3, 4]


class Rows:
    """Attributes of rows that count how often they are read."""

    def __init__(self, *rows: Mapping[str, Any]) -> None:
        self.rows = rows
        self.readings = 0

    def __call__(self) -> Iterator[Mapping[str, Any]]:
        self.readings += 1
        return iter(self.rows)


def test_all_columns_of_a_filter_are_made_in_one_reading() -> None:
    rows = Rows({"a": 1, "b": {"c": 2}}, {"d": [3]})
    columns = AttributeColumns(rows).of(["a", "b", "b.c", "d", "made up"])
    assert {name: column.present.tolist() for name, column in columns.items()} == {
        "a": [0],
        "b": [0],
        "b.c": [0],
        "d": [1],
    }
    assert rows.readings == 1


def test_a_name_that_no_row_has_costs_no_further_reading() -> None:
    rows = Rows({"a": 1}, {"b": {"c": 2}})
    columns = AttributeColumns(rows)
    columns.of(["a"])
    for number in range(300):
        assert not columns.of([f"made up {number}", f"b.{number}"])
    assert rows.readings == 1


def test_a_name_that_no_row_has_a_value_for_costs_no_further_reading_either() -> None:
    rows = Rows({"a": 1, "b": None}, {"b": []})
    columns = AttributeColumns(rows)
    for _ in range(5):
        assert list(columns.of(["a"])) == ["a"] and not columns.of(["b"])
    assert rows.readings == 2


def test_a_name_that_occurs_is_read_when_it_is_first_asked_for_and_then_kept() -> None:
    rows = Rows({"a": 1, "b": 2})
    columns = AttributeColumns(rows)
    for name in ("a", "b", "a", "b"):
        assert list(columns.of([name])) == [name]
    assert rows.readings == 2


def test_names_that_clients_make_up_throw_nobodys_column_out() -> None:
    rows = Rows({"a": 1})
    columns = AttributeColumns(rows)
    kept = columns.of(["a"])["a"]
    columns.of([f"made up {number}" for number in range(1000)])
    assert columns.of(["a"])["a"] is kept


def test_where_names_are_without_number_a_filter_costs_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.attribute_columns._KEPT_NAMES", 3)
    rows = Rows(*({f"named {number}": number} for number in range(9)))
    columns = AttributeColumns(rows)
    assert list(columns.of(["named 8", "made up", "nor this"])) == ["named 8"]
    assert not columns.of(["made up", "nor this"])
    assert rows.readings == 2


def test_names_inside_of_names_end_where_no_filter_can_ask_for_them() -> None:
    nested: dict[str, Any] = {}
    for _ in range(1000):
        nested = {"a": nested}
    assert max(map(len, by_name(nested))) <= LONGEST_NAME


NAMES = st.text("ab.", max_size=2)


@given(
    attributes=st.recursive(
        st.none() | st.integers(0, 2), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
    ).filter(lambda drawn: isinstance(drawn, dict)),
    key=st.text("ab.", min_size=1, max_size=5),
)
def test_a_name_means_the_attribute_or_else_the_way_to_a_nested_one(
    attributes: Mapping[str, Any], key: str
) -> None:
    value: Any = attributes.get(key)
    if key not in attributes:
        value = attributes
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    assert by_name(attributes).get(key) == value


def test_results_are_kept_within_a_measure_of_memory() -> None:
    kept = KeptRows(most_bytes=20_000)
    index = index_of(RECORDS, kept)
    for number in range(1000):
        name = f"made up {number}"
        index.allowed(RowFilter(must=(Clause(name, "exists", False),)), name)
    assert index.known("made up 999") is not None and index.known("made up 0") is None
    assert kept.bytes <= 20_000


def test_a_filter_is_evaluated_once() -> None:
    index = index_of(RECORDS)
    asked = RowFilter(must=(Clause("tags", "match", "dog"),))
    assert index.known("dogs") is None
    first = index.allowed(asked, "dogs")
    assert index.known("dogs") is first and index.allowed(asked, "dogs") is first


SCALARS = st.one_of(
    st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0]), st.sampled_from(["a", "b", "1"])
)


@given(
    values=st.lists(st.one_of(st.none(), SCALARS, st.lists(SCALARS, max_size=3)), max_size=12),
    asked=st.lists(SCALARS, min_size=1, max_size=3),
)
def test_any_agrees_with_reading_every_record(values: list[Any], asked: list[Any]) -> None:
    records = [{"tags": [], "a": value} for value in values]
    found = index_of(records).allowed(RowFilter(must=(Clause("a", "any", asked),)), "x").tolist()

    def same(left: Any, right: Any) -> bool:
        return left == right and isinstance(left, bool) == isinstance(right, bool)

    expected = [
        row
        for row, value in enumerate(values)
        if any(same(v, a) for v in (value if isinstance(value, list) else [value]) for a in asked)
    ]
    assert found == expected


@given(
    values=st.lists(st.one_of(st.none(), st.integers(-5, 5), st.sampled_from(["a", "m", "z"])), max_size=12),
    low=st.integers(-5, 5),
    high=st.integers(-5, 5),
)
def test_range_agrees_with_reading_every_record(values: list[Any], low: int, high: int) -> None:
    records = [{"tags": [], "a": value} for value in values]
    asked = Clause("a", "range", bounds(gt=low, lte=high))
    found = index_of(records).allowed(RowFilter(must=(asked,)), "x").tolist()
    assert found == [row for row, v in enumerate(values) if isinstance(v, int) and low < v <= high]


@given(
    values=st.lists(
        st.integers(2**53 - 3, 2**53 + 3) | st.sampled_from([2.0**53, 2**70, -(2**70)]), max_size=8
    ),
    asked=st.integers(2**53 - 3, 2**53 + 3),
)
def test_whole_numbers_that_floats_cannot_tell_apart_are_told_apart(values: list[Any], asked: int) -> None:
    index = index_of([{"tags": [], "a": value} for value in values])

    def found(clause: Clause) -> list[int]:
        return index.allowed(RowFilter(must=(clause,)), repr(clause)).tolist()

    assert found(Clause("a", "match", asked)) == [row for row, v in enumerate(values) if v == asked]
    above = Clause("a", "range", bounds(gt=asked))
    assert found(above) == [row for row, v in enumerate(values) if v > asked]


def test_what_is_no_scalar_has_no_key() -> None:
    assert scalar_key({"a": 1}) is None and scalar_key(None) is None
