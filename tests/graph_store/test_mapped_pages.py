"""Pages of mapped files leave the memory of a process that has done with them; nothing else changes."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

from graph_store import mapped_pages
from graph_store.array_files import load_array, new_mapped_array, save_array
from graph_store.arrays import Int64Array
from graph_store.mapped_pages import copy_rows, release, streamed

ROWS, DIM = 20_000, 512
MIB = 2**20


def resident_of_files() -> int:
    """Bytes of mapped files that this process has in memory."""
    found = re.search(r"^RssFile:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """40 MiB."""
    save_array(tmp_path / "rows.npy", np.arange(ROWS * DIM, dtype=np.float32).reshape(ROWS, DIM))
    return tmp_path / "rows.npy"


def test_what_was_read_leaves_the_memory_and_can_be_read_again(path: Path) -> None:
    array = load_array(path)
    total = array.sum(dtype=np.float64)
    read = resident_of_files()
    release(array[7:][:, 3:])  # a view of it stands for the whole map
    assert resident_of_files() < read - 30 * MIB
    assert array.sum(dtype=np.float64) == total


def test_what_was_written_to_a_map_is_kept(tmp_path: Path) -> None:
    array = new_mapped_array(tmp_path / "new.npy", (ROWS, DIM))
    array[:] = 3.0
    release(array)
    array[5] = 4.0
    release(array)
    stored = load_array(tmp_path / "new.npy", mmap=False)
    assert stored[5].tolist() == [4.0] * DIM and float(stored.sum()) == 3.0 * (ROWS - 1) * DIM + 4.0 * DIM


def test_a_map_whose_changes_are_not_in_the_file_is_left_alone(path: Path) -> None:
    changed = np.load(path, mmap_mode="c")
    changed[3, 4] = -1.0
    release(changed, changed[1:])
    assert changed[3, 4] == -1.0


def test_an_array_in_memory_is_left_alone() -> None:
    array = np.ones((3, 2), np.float32)
    release(array, array[1:])
    assert array.tolist() == [[1.0, 1.0]] * 3


OLD_OF = {
    "the first": np.arange(ROWS),
    "all but two": np.delete(np.arange(ROWS + 2), [7, 12_000])[:ROWS] % ROWS,
    "some new between": np.where(np.arange(ROWS) % 9_000 == 5, -1, np.arange(ROWS)),
    "one block later": np.concatenate([np.full(8192, -1), np.arange(ROWS - 8192)]),
}


@pytest.mark.parametrize("old_of", OLD_OF.values(), ids=OLD_OF)
@pytest.mark.parametrize("kind", ["file", "view", "changed in memory", "memory"])
def test_rows_are_copied_from_wherever_they_are(
    path: Path, tmp_path: Path, kind: str, old_of: Int64Array
) -> None:
    old = np.asarray(load_array(path, mmap=kind != "memory"))
    if kind == "view":
        save_array(tmp_path / "more.npy", np.concatenate([old[:3], old]))
        old = load_array(tmp_path / "more.npy")[3:]
    if kind == "changed in memory":
        old = np.load(path, mmap_mode="c")
        old[3] = -1.0
    new = new_mapped_array(tmp_path / "new.npy", (ROWS, DIM))
    new[:] = -7.0
    copy_rows(old, old_of, new)
    expected = np.where(old_of[:, None] >= 0, np.asarray(old)[old_of], np.float32(-7.0))
    np.testing.assert_array_equal(new, expected)
    new.flush()
    np.testing.assert_array_equal(load_array(tmp_path / "new.npy", mmap=False), expected)


def test_rows_are_copied_where_the_system_does_not_copy_files(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EXDEV, "other file system")

    monkeypatch.setattr(os, "copy_file_range", refused)
    old, new = load_array(path), new_mapped_array(tmp_path / "new.npy", (ROWS, DIM))
    copy_rows(old, np.arange(ROWS), new)
    np.testing.assert_array_equal(new, old)


def test_files_are_copied_without_a_page_in_memory(path: Path, tmp_path: Path) -> None:
    old, new = load_array(path), new_mapped_array(tmp_path / "new.npy", (ROWS, DIM))
    before = resident_of_files()
    files = mapped_pages._Files(old, new)
    with files:
        assert files.copied(0, 0, ROWS)
    assert resident_of_files() - before < MIB
    np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("num", [0, 1, 999, 1000, 2500])
def test_a_stream_has_every_row_once_and_in_order(num: int) -> None:
    rows = [row for start, stop in streamed(num, 1000) for row in range(start, stop)]
    assert rows == list(range(num))


def test_a_stream_never_holds_much_of_a_map(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_pages, "_BYTES_BETWEEN", 4 * MIB)
    array = load_array(path)
    before, most, total = resident_of_files(), 0, 0.0
    for start, stop in streamed(ROWS, 500, array):
        total += float(array[start:stop].sum(dtype=np.float64))
        most = max(most, resident_of_files())
    assert most - before < 12 * MIB
    assert resident_of_files() - before < MIB
    assert total == float(array.sum(dtype=np.float64))


def test_writing_a_mapped_array_holds_little_of_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_pages, "_BYTES_BETWEEN", 4 * MIB)
    array = load_array(path)
    before = resident_of_files()
    save_array(tmp_path / "copy.npy", array)
    assert resident_of_files() - before < MIB
    assert (tmp_path / "copy.npy").read_bytes() == path.read_bytes()
