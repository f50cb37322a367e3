"""A command that asks a data directory whose newest snapshot is damaged or not named any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cli import run
from graph_store.data_dir import DataDir
from graph_store.snapshot import Snapshot
from tests.api.test_snapshot_swap import commit_copy
from tests.shapes import all_shapes, is_test


@pytest.fixture
def two_snapshots(built_copy: DataDir) -> tuple[DataDir, str, str]:
    """With the versions of the older and of the newer one, which holds the same."""
    older = Snapshot.open(built_copy).version
    return built_copy, older, commit_copy(built_copy).version


def asked(data_dir: DataDir, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = run(["search", "--tag", "red", "--data", str(data_dir.root)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_search_is_answered_from_the_last_good_snapshot_and_says_so(
    two_snapshots: tuple[DataDir, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir, older, newer = two_snapshots
    path: Path = data_dir.snapshots_dir / newer / "embeddings.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()  # it may be shared with the older one
    path.write_bytes(data)
    code, out, err = asked(data_dir, capsys)
    assert code == 0 and "red" in out
    assert older in err and "embeddings.npy" in err


def test_a_search_goes_on_without_the_file_that_names_the_newest(
    two_snapshots: tuple[DataDir, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir, _, newer = two_snapshots
    data_dir.current_path.unlink()
    code, out, err = asked(data_dir, capsys)
    assert code == 0 and "red" in out
    assert newer in err


@pytest.mark.parametrize("damage", ["no database", None])
def test_a_search_without_a_catalogue_that_can_be_read_prints_its_table_and_logs_elsewhere(
    built_copy: DataDir, capsys: pytest.CaptureFixture[str], damage: str | None
) -> None:
    built_copy.catalog_path.unlink()
    if damage is not None:
        built_copy.catalog_path.write_text(damage)
    options = ["--tag", "red", "--images", "always", "--visual-weight", "0"]
    assert run(["search", "--data", str(built_copy.root), *options]) == 0
    told = capsys.readouterr()
    assert "red" in told.out and "changes_not_read" not in told.out
    assert "changes_not_read" in told.err


def test_an_indexed_image_is_asked_for_where_there_is_no_catalogue(
    built_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    indexed = next(shape.id for shape in all_shapes() if not is_test(shape.id))
    asked = ["search", "--data", str(built_copy.root), "--image-id", indexed]
    assert run(asked) == 0
    expected = capsys.readouterr().out
    built_copy.catalog_path.unlink()
    assert run(asked) == 0
    assert capsys.readouterr().out == expected
