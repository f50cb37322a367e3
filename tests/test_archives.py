"""Archives of data directories of which parts lie elsewhere, or to which other programs have added theirs."""

from __future__ import annotations

import os
import resource
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from app import archive as archive_module
from app import archive_contents
from app.archive import export_archive, import_archive
from app.ingest.blobs import original_path
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile, Unwritable
from graph_store.features import FeatureFile
from graph_store.progress import SilentProgress

PICTURE = "ab" * 32


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    """A catalogue, three rows of features and one original."""
    made = DataDir(tmp_path / "here")
    made.create()
    Catalog.open(made.catalog_path, create=True).close()
    FeatureFile.open(made.features_dir, "x", 4, create=True).write(0, np.ones((3, 4), np.float32))
    original_path(made, PICTURE).parent.mkdir(parents=True)
    original_path(made, PICTURE).write_bytes(b"picture")
    return made


def exported(data_dir: DataDir) -> Path:
    file = data_dir.root.with_suffix(".tar")
    export_archive(data_dir, file, SilentProgress())
    return file


@contextmanager
def full_from(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def moved_away(path: Path, there: Path) -> None:
    """Puts it on what may be another disk, and a link in its place."""
    path.rename(there)
    path.symlink_to(there)


def interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["blobs", "blobs/originals", "features/x.f32", "models"])
def test_what_lies_on_another_disk_is_in_the_archive(data_dir: DataDir, tmp_path: Path, place: str) -> None:
    moved_away(data_dir.root / place, tmp_path / "disk")

    there = DataDir(tmp_path / "there")
    import_archive(exported(data_dir), there, SilentProgress())

    assert original_path(there, PICTURE).read_bytes() == b"picture"
    assert FeatureFile.open(there.features_dir, "x", 4).num_rows == 3


def test_a_link_that_leads_to_nothing_is_named_and_not_left_out(data_dir: DataDir, tmp_path: Path) -> None:
    originals = data_dir.blobs_dir / "originals"
    moved_away(originals, tmp_path / "disk")
    (tmp_path / "disk").rename(tmp_path / "not mounted")

    with pytest.raises(CorruptFile, match="leads to nothing") as refused:
        exported(data_dir)
    assert refused.value.path == originals


def test_a_link_back_to_a_folder_above_it_is_not_followed_for_ever(data_dir: DataDir) -> None:
    (data_dir.blobs_dir / "originals" / "back").symlink_to(data_dir.blobs_dir)
    with tarfile.open(exported(data_dir)) as written:
        assert len([name for name in written.getnames() if PICTURE in name]) == 1


def test_two_names_of_one_file_are_two_files_in_the_archive(data_dir: DataDir, tmp_path: Path) -> None:
    os.link(data_dir.features_dir / "x.f32", data_dir.features_dir / "y.f32")

    there = DataDir(tmp_path / "there")
    import_archive(exported(data_dir), there, SilentProgress())

    names = ("x.f32", "y.f32")
    assert len({(there.features_dir / name).read_bytes() for name in names}) == 1
    assert len({(there.features_dir / name).stat().st_ino for name in names}) == 2


def test_a_file_that_no_archive_may_hold_is_left_out_by_name(data_dir: DataDir, tmp_path: Path) -> None:
    (data_dir.blobs_dir / "Icon\r").write_bytes(b"of a file manager")
    file = tmp_path / "all.tar"

    told = export_archive(data_dir, file, SilentProgress())
    assert told.left_out == ("blobs/Icon\r",)
    assert import_archive(file, DataDir(tmp_path / "there"), SilentProgress()) == told.files


def test_of_the_members_of_an_archive_none_is_kept(
    data_dir: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    close = tarfile.TarFile.close

    def closing(self: tarfile.TarFile) -> None:
        kept.append(len(self.members))  # type: ignore[attr-defined]  # an attribute without annotations
        close(self)

    monkeypatch.setattr(tarfile.TarFile, "close", closing)
    file = exported(data_dir)
    import_archive(file, DataDir(tmp_path / "there"), SilentProgress())
    assert kept == [0, 0]


def test_more_files_than_a_list_may_hold_are_refused_by_the_export(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_LISTING_BYTES", 300)
    with pytest.raises(BadInput, match="5 files, which is more than an archive can list"):
        exported(data_dir)
    assert [path.name for path in data_dir.root.parent.iterdir()] == ["here"]


def test_an_export_to_a_full_disk_says_so(data_dir: DataDir) -> None:
    with Catalog.open(data_dir.catalog_path) as catalog:
        catalog.set_meta("long", "x" * 200_000)
    with full_from(60_000), pytest.raises(Unwritable, match="Cannot write"):
        exported(data_dir)
    assert [path.name for path in data_dir.root.parent.iterdir()] == ["here"]


def test_a_full_disk_is_not_taken_for_a_damaged_archive(
    data_dir: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = archive_contents._check_digests

    def check_without_room(catalog: Path, file: Path) -> None:
        with full_from(20_000):
            check(catalog, file)

    monkeypatch.setattr(archive_contents, "_check_digests", check_without_room)
    there = DataDir(tmp_path / "there")
    import_archive(exported(data_dir), there, SilentProgress())
    assert there.catalog_path.exists()


@pytest.mark.parametrize("taken_up", [False, True])
def test_a_folder_that_cannot_be_moved_is_refused_by_name_before_anything_is_unpacked(
    data_dir: DataDir, tmp_path: Path, taken_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = DataDir(tmp_path / "there")
    file = exported(data_dir)
    if taken_up:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(archive_module, "_move", interrupted)
            import_archive(file, there, SilentProgress())
    (tmp_path / "disk").mkdir()
    there.root.mkdir(exist_ok=True)
    there.blobs_dir.symlink_to(tmp_path / "disk")
    monkeypatch.setattr(archive_module, "_move", lambda *_: pytest.fail("it was unpacked"))

    with pytest.raises(BadInput, match=f"{there.blobs_dir} is a link"):
        import_archive(file, there, SilentProgress())


def test_an_import_that_goes_on_leaves_in_its_place_what_it_has_put_there(
    data_dir: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = DataDir(tmp_path / "there")
    file = exported(data_dir)
    move = Path.replace

    def killed_before_the_catalogue(path: Path, target: Path) -> Path:
        return interrupted() if path.name == there.catalog_path.name else move(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed_before_the_catalogue)
        import_archive(file, there, SilentProgress())
    # It is there once only: a kill between two renames would lose it.
    monkeypatch.setattr(Path, "rename", lambda path, target: pytest.fail(f"{path} was moved to {target}"))
    import_archive(file, there, SilentProgress())
    assert FeatureFile.open(there.features_dir, "x", 4).num_rows == 3
    assert original_path(there, PICTURE).read_bytes() == b"picture"
