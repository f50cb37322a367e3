"""A catalogue's images as columns are the same images."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_store.catalog import Catalog
from graph_store.errors import CorruptFile
from graph_store.image_table import ImageTable
from graph_store.record_table import fragment_of
from graph_store.records import LEAST_WEIGHT, MOST_WEIGHT, ImageRecord, Tag

RECORDS = [
    ImageRecord("a", tags=(Tag("sea", 0.1), Tag("boat")), row=3, sha256="f0", attributes={"year": 1990}),
    ImageRecord("b", row=5),
    ImageRecord("c", tags=(Tag("boat", 2.0),), row=9, attributes={"where": {"deep": ["é", None, 1.5]}}),
]

records = st.lists(
    st.builds(
        ImageRecord,
        id=st.text(st.characters(codec="utf-8"), min_size=1),
        tags=st.lists(
            st.builds(
                Tag,
                st.text(st.characters(codec="utf-8")),
                st.just(1.0) | st.floats(min_value=1e-300, allow_nan=False, allow_infinity=False),
            ),
            max_size=4,
        ).map(tuple),
        attributes=st.dictionaries(
            st.text(st.characters(codec="utf-8"), max_size=3), st.integers(-9, 9) | st.none()
        ),
    ),
    max_size=5,
)


@given(records)
def test_what_a_hit_shows_is_what_it_shows_of_the_record(drawn: list[ImageRecord]) -> None:
    expected = [(record.id, fragment_of(record)) for record in drawn]
    assert list(ImageTable.of(drawn).fragments()) == expected


@given(st.lists(st.integers(0, 2), max_size=5))
def test_some_images_of_a_table_are_shown_as_they_were(places: list[int]) -> None:
    expected = [(RECORDS[place].id, fragment_of(RECORDS[place])) for place in places]
    part = ImageTable.of(RECORDS).take(places)
    assert list(part.fragments()) == expected
    assert part.rows.tolist() == [RECORDS[place].row for place in places]


def test_tags_become_edges_in_the_images_own_order() -> None:
    table = ImageTable.of(RECORDS)
    assert table.tag_names == ("boat", "sea")
    edges = table.has()
    assert edges.indptr.tolist() == [0, 2, 2, 3]
    assert edges.indices.tolist() == [1, 0, 0]
    assert edges.weights.tolist() == pytest.approx([0.1, 1.0, 2.0])


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "z"},
        {"row": 4},
        {"sha256": None},
        {"attributes": {"year": 1991}},
        {"tags": (Tag("boat"), Tag("sea", 0.1))},
        {"tags": (Tag("sea", 0.2), Tag("boat"))},
        {"tags": (Tag("sea", 0.1), Tag("boats"))},
        {"tags": (Tag("sea", 0.1),)},
    ],
    ids=str,
)
def test_a_changed_image_changes_the_facts(changed: dict[str, object]) -> None:
    other = [replace(RECORDS[0], **changed), *RECORDS[1:]]  # type: ignore[arg-type]  # of any field
    assert list(ImageTable.of(other).facts()) != list(ImageTable.of(RECORDS).facts())


def test_images_are_in_the_order_of_their_rows_however_they_came(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "catalog.sqlite", create=True) as catalog:
        for record in (RECORDS[1], RECORDS[2], RECORDS[0]):
            catalog.upsert([record])
        assert list(catalog.table("train").facts()) == list(ImageTable.of(RECORDS).facts())


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE image SET attributes = '{\"year\":' WHERE id = 'a'", "no JSON"),
        ("DELETE FROM tag WHERE name = 'boat'", "tag, number 2"),
    ],
)
def test_a_damaged_catalogue_is_refused(tmp_path: Path, damage: str, told: str) -> None:
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog:
        catalog.upsert(RECORDS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(damage)
        connection.commit()
    with Catalog.open(path) as catalog, pytest.raises(CorruptFile, match=told):
        catalog.table("train")


def test_weights_that_were_not_always_refused_count_as_the_nearest_that_are_not() -> None:
    table = ImageTable.of([ImageRecord("a", tags=(Tag("sea", 1e39), Tag("boat", 1e-50), Tag("sky", 2.0)))])
    weights = {table.tag_names[tag]: weight for tag, weight in zip(*table.has().row(0), strict=True)}
    assert weights == {
        name: pytest.approx(weight)
        for name, weight in {"sea": MOST_WEIGHT, "boat": LEAST_WEIGHT, "sky": 2.0}.items()
    }
