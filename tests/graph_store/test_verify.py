import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_files
from graph_store.data_dir import DataDir
from graph_store.errors import NothingToServe
from graph_store.features import FeatureFile
from graph_store.records import ImageRecord
from graph_store.snapshot import SnapshotWriter, versions
from graph_store.verify import verify_data_dir


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    data_dir = DataDir(tmp_path)
    data_dir.create()
    FeatureFile.open(data_dir.features_dir, "lite0", 4, create=True).write(0, np.zeros((2, 4)))
    with Catalog.open(data_dir.catalog_path, create=True) as catalog:
        catalog.set_meta("image_encoder", {"name": "efficientnet_lite0"})
        catalog.upsert([ImageRecord(id="a", row=0), ImageRecord(id="b", row=1)])
    with SnapshotWriter(data_dir) as writer:
        writer.json("tags", [])
        writer.commit({})
    return data_dir


def test_a_sound_directory_has_no_problems(data_dir: DataDir) -> None:
    assert verify_data_dir(data_dir) == []


def test_each_damaged_part_is_named(data_dir: DataDir) -> None:
    features = data_dir.features_dir / "lite0.f32"
    features.write_bytes(features.read_bytes()[:-1])
    tags = next(data_dir.snapshots_dir.glob("*/tags.json"))
    tags.write_text("{}")
    assert [problem.path for problem in verify_data_dir(data_dir)] == [features, tags]
    (data_dir.features_dir / "lite0.json").write_text("?")
    data_dir.catalog_path.write_bytes(b"x" * 5000)
    assert [problem.path for problem in verify_data_dir(data_dir)] == [data_dir.catalog_path, tags]


@pytest.mark.parametrize("gone", ["lite0.f32", "lite0.json", "lite0.crc32"])
def test_each_part_of_the_features_that_is_gone_is_named(data_dir: DataDir, gone: str) -> None:
    (data_dir.features_dir / gone).unlink()
    (problem,) = verify_data_dir(data_dir, "lite0")
    # A row without its checksum looks as one that does not fit it.
    assert problem.path.name == gone.replace("crc32", "f32")


def test_features_that_are_gone_altogether_are_named(data_dir: DataDir) -> None:
    shutil.rmtree(data_dir.features_dir)
    assert [problem.path.name for problem in verify_data_dir(data_dir, "lite0")] == ["lite0.json"]


def test_an_empty_catalogue_needs_no_features(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    data_dir.create()
    with Catalog.open(data_dir.catalog_path, create=True) as catalog:
        catalog.set_meta("image_encoder", {"name": "efficientnet_lite0"})
    assert verify_data_dir(data_dir, "lite0") == []


def test_snapshots_none_of_which_is_current_are_a_problem(data_dir: DataDir) -> None:
    data_dir.current_path.unlink()
    assert [problem.path for problem in verify_data_dir(data_dir)] == [data_dir.current_path]


def test_a_first_swap_that_was_cut_short_is_none(data_dir: DataDir) -> None:
    data_dir.current_path.rename(data_dir.root / ".CURRENT.next")
    assert verify_data_dir(data_dir) == []


def test_a_snapshot_that_is_removed_while_it_is_read_was_not_damaged(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data_dir.snapshots_dir / versions(data_dir)[0]
    with SnapshotWriter(data_dir) as writer:
        writer.json("tags", [])
        writer.commit({})

    def removing(paths: Sequence[Path]) -> Iterator[str]:
        """As a reindex does that ends at this moment."""
        if first.is_dir():
            shutil.rmtree(first)
        return sha256_of_files(paths)

    monkeypatch.setattr("graph_store.snapshot_files.sha256_of_files", removing)
    assert verify_data_dir(data_dir) == []


def test_a_file_that_is_removed_while_it_is_read_is_missing(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = next(data_dir.snapshots_dir.glob("*/tags.json"))

    def removing(paths: Sequence[Path]) -> Iterator[str]:
        tags.unlink()
        return sha256_of_files(paths)

    monkeypatch.setattr("graph_store.snapshot_files.sha256_of_files", removing)
    assert [(problem.path, "is missing" in problem.reason) for problem in verify_data_dir(data_dir)] == [
        (tags, True)
    ]


def test_features_of_an_encoder_no_longer_used_may_be_fewer(data_dir: DataDir) -> None:
    FeatureFile.open(data_dir.features_dir, "older", 4, create=True)
    assert verify_data_dir(data_dir, "lite0") == []
    assert [problem.path.name for problem in verify_data_dir(data_dir, "older")] == ["older.f32"]
    assert [problem.path.name for problem in verify_data_dir(data_dir)] == ["older.f32"]


def test_features_without_a_readable_description_are_named(data_dir: DataDir) -> None:
    (data_dir.features_dir / "lite0.json").write_text("?")
    assert [problem.path.name for problem in verify_data_dir(data_dir)] == ["lite0.json"]


def test_without_a_catalogue_there_is_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(NothingToServe):
        verify_data_dir(DataDir(tmp_path))
