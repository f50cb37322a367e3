"""Filters over tags and attributes, against a plain reading of what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.filtering import Clause, FilterIndex, RowFilter, scalar_key, value_at

RECORDS: list[dict[str, Any]] = [
    {"tags": ["Dog", "beach"], "year": 2019, "place": {"city": "Rome"}, "size": [1, 2]},
    {"tags": ["cat"], "year": 2021.5, "place": {"city": "Oslo"}, "free": True},
    {"tags": [], "year": "2020-05-01", "free": False, "size": []},
    {"tags": ["dog"], "place.city": "Rome", "year": None},
    {"tags": ["beach"], "size": 2, "free": 1},
]


def index_of(records: list[dict[str, Any]]) -> FilterIndex:
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
    assert value_at({"a": {"b": 1}, "a.b": 2}, "a.b") == 2
    assert value_at({"a": {"b": 1}}, "a.c") is None


def test_an_attribute_that_nobody_has_matches_nothing() -> None:
    assert rows(must=[Clause("nothing", "match", "x")]) == []
    assert rows(must_not=[Clause("nothing", "match", "x")]) == [0, 1, 2, 3, 4]


def test_attributes_without_number_do_not_fill_the_memory() -> None:
    index = index_of(RECORDS)
    for number in range(1000):
        name = f"made up {number}"
        index.allowed(RowFilter(must=(Clause(name, "exists", True),)), name)
    assert len(index._columns) <= 128
    assert len(index._results) <= 64


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


def test_keys_that_clients_make_up_are_not_all_kept() -> None:
    index = index_of(RECORDS)
    for number in range(1000):
        absent = Clause(f"no such key {number}", "exists", False)
        assert index.allowed(RowFilter(must=(absent,)), f"{number}").tolist() == [0, 1, 2, 3, 4]
    assert len(index._columns) < 500
    assert rows(must=[Clause("year", "match", 2019)]) == [0]
