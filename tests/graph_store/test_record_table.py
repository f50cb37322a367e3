from pathlib import Path

import numpy as np
import orjson
import pytest

from graph_store.errors import BadInput, CorruptFile
from graph_store.image_table import ImageTable
from graph_store.record_table import RecordTable
from graph_store.records import ImageRecord, Tag

RECORDS = [
    ImageRecord(
        id="ü/a.jpg", tags=(Tag("sea", 0.5), Tag("猫")), attributes={"price": 3, "none": None}, row=5
    ),
    ImageRecord(id="b", row=9),
]


def test_records_come_back_by_row_and_by_id(tmp_path: Path) -> None:
    assert RecordTable.write(tmp_path / "records", ImageTable.of(RECORDS).fragments()) == 2
    table = RecordTable.open(tmp_path / "records")
    assert len(table) == 2
    assert table.ids == ("ü/a.jpg", "b")
    assert table.row_of("b") == 1
    assert table.row_of("c") is None
    assert table.record(0) == {
        "id": "ü/a.jpg",
        "tags": [{"name": "sea", "weight": 0.5}, {"name": "猫", "weight": 1.0}],
        "attributes": {"price": 3, "none": None},
    }
    assert orjson.loads(table.fragment(1)) == {"tags": [], "attributes": {}}


def test_ids_that_are_in_memory_already_are_not_held_twice(tmp_path: Path) -> None:
    RecordTable.write(tmp_path, ImageTable.of(RECORDS).fragments())
    ids = RecordTable.open(tmp_path).ids
    again = RecordTable.open(tmp_path, ids)
    assert again.ids is ids and again.row_of("b") == 1
    with pytest.raises(CorruptFile, match="do not fit together"):
        RecordTable.open(tmp_path, ids[:1])


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_outside_is_refused(tmp_path: Path, row: int) -> None:
    RecordTable.write(tmp_path, ImageTable.of(RECORDS).fragments())
    with pytest.raises(IndexError):
        RecordTable.open(tmp_path).fragment(row)


def test_a_table_may_be_empty(tmp_path: Path) -> None:
    assert RecordTable.write(tmp_path, []) == 0
    assert RecordTable.open(tmp_path).ids == ()


def test_an_id_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'b' comes twice"):
        RecordTable.write(tmp_path, ImageTable.of([*RECORDS, RECORDS[1]]).fragments())


@pytest.mark.parametrize("name", ["ids.json", "offsets.npy", "fragments.bin"])
def test_a_short_or_missing_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    RecordTable.write(tmp_path, ImageTable.of(RECORDS).fragments())
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CorruptFile):
        RecordTable.open(tmp_path)
    path.unlink()
    with pytest.raises(CorruptFile, match=name):
        RecordTable.open(tmp_path)


def test_offsets_that_run_backwards_are_refused(tmp_path: Path) -> None:
    RecordTable.write(tmp_path, ImageTable.of(RECORDS).fragments())
    size = (tmp_path / "fragments.bin").stat().st_size
    np.save(tmp_path / "offsets.npy", np.array([0, size + 1, size]))
    with pytest.raises(CorruptFile, match="do not fit together"):
        RecordTable.open(tmp_path)
