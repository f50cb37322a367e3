"""What a killed writer leaves behind is gone after the next start, and nothing else is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from app import tidying
from app.ingest.blobs import original_path, thumbnail_path
from app.tidying import tidy_up, tidy_up_or_say
from app.verify import verify_data_dir
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.progress import SilentProgress
from graph_store.snapshot import Snapshot, SnapshotWriter
from graph_store.snapshot_files import versions
from tests.api.conftest import serving

NOBODY = "ab" * 32


def files(data_dir: DataDir) -> set[str]:
    """Every file by its place, but for those of every service and what SQLite keeps beside its own."""
    return {
        path.relative_to(data_dir.root).as_posix()
        for path in data_dir.root.rglob("*")
        if path.is_file() and not path.name.endswith((".lock", ".notice", "-wal", "-shm"))
    }


def leave_behind(data_dir: DataDir) -> None:
    """What kills at several moments leave: the lock files then say that a writer did not come to its end."""
    for path in (
        thumbnail_path(data_dir, NOBODY),
        original_path(data_dir, NOBODY),
        data_dir.blobs_dir / "thumbnails" / "ab" / f".{NOBODY}.webp.1.2.tmp",
        data_dir.root / ".CURRENT.123.tmp",
        data_dir.root / ".keys.json.123.tmp",
        data_dir.root / ".jobs.sqlite.0123abcd.tmp",
        data_dir.root / ".jobs.sqlite.0123abcd.tmp-wal",
        data_dir.models_dir / "default" / ".checkpoint.safetensors.123.tmp",
        data_dir.models_dir / "hash" / ".vectors.tmp" / "states" / "image_1.npy",
        data_dir.models_dir / "default" / "states.tmp" / "image_1.npy",
        data_dir.snapshots_dir / ".tmp-000009" / "features.npy",
        data_dir.snapshots_dir / ".tmp-pruned-000001-01234567" / "features.npy",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left over")
    features = next(data_dir.features_dir.glob("*.f32"))
    with features.open("ab") as file:
        file.write(os.urandom(7000))
    data_dir.write_lock_path.write_text('{"pid": 1, "purpose": "serve", "untidy": false}')


def test_a_service_that_starts_removes_everything_that_nobody_refers_to(built_copy: DataDir) -> None:
    before = files(built_copy)
    size = next(built_copy.features_dir.glob("*.f32")).stat().st_size
    leave_behind(built_copy)
    assert built_copy.untidy

    with serving(built_copy.root) as client:
        assert client.get("/readyz").json()["status"] == "ok"

    assert files(built_copy) == before
    assert next(built_copy.features_dir.glob("*.f32")).stat().st_size == size
    assert not built_copy.untidy
    assert verify_data_dir(built_copy, SilentProgress()) == []


def test_a_service_starts_though_what_was_left_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(_: DataDir) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(tidying, "tidy_up", stale)
    tidy_up_or_say(DataDir(tmp_path))


def test_what_file_managers_leave_among_the_blobs_is_passed_over(built_copy: DataDir) -> None:
    thumbnails = built_copy.blobs_dir / "thumbnails"
    strange = [
        thumbnails / ".DS_Store",
        thumbnails / "@eaDir" / f"{NOBODY}.webp",
        thumbnails / "ab" / "Thumbs.db",
        thumbnails / "ab" / f"{NOBODY}.webp" / "inside",
        built_copy.blobs_dir / "originals" / "cd",
    ]
    for path in strange:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"theirs")
    original_path(built_copy, NOBODY).parent.mkdir(parents=True, exist_ok=True)
    original_path(built_copy, NOBODY).write_bytes(b"left over")

    assert tidy_up(built_copy, always=True)

    assert not original_path(built_copy, NOBODY).exists()
    assert all(path.exists() for path in strange)


def test_after_an_orderly_end_nothing_is_looked_for(built_copy: DataDir) -> None:
    leave_behind(built_copy)
    with built_copy.lock("train"), built_copy.writing("train"):
        built_copy.mark_tidy("train")
    before = files(built_copy)
    assert tidy_up(built_copy)
    assert files(built_copy) == before
    # After a power cut the notes are those of another start of the machine, or lost.
    built_copy.write_lock_path.write_text('{"boot": "another"}')
    assert tidy_up(built_copy)
    assert files(built_copy) < before


def test_nothing_is_removed_while_another_process_is_at_work(built_copy: DataDir) -> None:
    leave_behind(built_copy)
    before = files(built_copy)
    with built_copy.lock("ingest"):
        assert not tidy_up(built_copy)
        assert files(built_copy) == before
    assert built_copy.untidy
    assert tidy_up(built_copy)
    assert files(built_copy) < before


def test_a_swap_that_was_cut_short_is_completed_at_the_next_start(built_copy: DataDir) -> None:
    older = Snapshot.open(built_copy)
    with SnapshotWriter(built_copy) as writer:
        writer.json("tags", [])
        made = writer.commit({})
    # As a kill leaves it between the renaming of the directory and that of CURRENT.
    built_copy.current_path.rename(built_copy.root / ".CURRENT.next")
    built_copy.current_path.write_text(f"{older.version}\n")
    built_copy.lock_path.write_text('{"pid": 1, "purpose": "reindex", "untidy": false}')

    assert tidy_up(built_copy)

    assert Snapshot.open(built_copy).version == made.version
    assert not (built_copy.root / ".CURRENT.next").exists()


def test_a_cut_short_swap_to_a_damaged_snapshot_is_undone(built_copy: DataDir) -> None:
    current = Snapshot.open(built_copy).version
    with SnapshotWriter(built_copy) as writer:
        writer.json("tags", [])
        made = writer.commit({})
    built_copy.current_path.rename(built_copy.root / ".CURRENT.next")
    built_copy.current_path.write_text(f"{current}\n")
    (made.directory / "tags.json").write_text("[1]")
    built_copy.lock_path.write_text('{"pid": 1, "purpose": "reindex", "untidy": false}')

    assert tidy_up(built_copy)

    assert Snapshot.open(built_copy).version == current
    assert versions(built_copy) == [current]


@pytest.mark.parametrize("made", [False, True], ids=["no catalogue", "an empty catalogue"])
def test_a_directory_that_was_hardly_begun_is_tidied_too(tmp_path: Path, made: bool) -> None:
    data_dir = DataDir(tmp_path)
    assert tidy_up(data_dir)
    data_dir.create()
    if made:
        Catalog.open(data_dir.catalog_path, create=True).close()
    data_dir.lock_path.write_text('{"pid": 1, "purpose": "ingest", "untidy": false}')
    thumbnail_path(data_dir, NOBODY).parent.mkdir(parents=True)
    thumbnail_path(data_dir, NOBODY).touch()
    assert tidy_up(data_dir)
    assert not data_dir.untidy
    assert files(data_dir) == ({"catalog.sqlite"} if made else {f"blobs/thumbnails/ab/{NOBODY}.webp"})


def test_a_row_that_an_image_refers_to_is_never_cut(built_copy: DataDir) -> None:
    (path,) = built_copy.features_dir.glob("*.f32")
    with Catalog.open(built_copy.catalog_path) as catalog:
        last = max(place.row for place in catalog.places())
    file = FeatureFile.open(built_copy.features_dir, path.stem, 1280)
    expected = np.array(file.view()[last])
    leave_behind(built_copy)
    assert tidy_up(built_copy)
    np.testing.assert_array_equal(file.view()[last], expected)
