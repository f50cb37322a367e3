"""Pages of mapped files leave the memory of a process that has done with them; nothing else changes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from graph_store import mapped_pages
from graph_store.array_files import load_array, new_mapped_array, save_array
from graph_store.mapped_pages import release, streamed

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
