"""An ingestion while a server deletes pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.catalogue_reader import CatalogueReader
from app.ingest.blobs import original_path, thumbnail_path
from app.live.writer import CatalogueWriter
from app.verify import verify_data_dir
from graph_store.data_dir import DataDir
from graph_store.progress import SilentProgress
from tests.ingest.conftest import Draw, records, with_features, write_rows


class Between:
    """A progress that does something when a picture is prepared, and not yet stored."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        yield lambda _: self._do()


@pytest.fixture
def deleting_one(data_dir: DataDir, tmp_path: Path, draw: Draw) -> Between:
    """The picture `one` is there, and a server removes it in the middle of the ingestion of its copy."""
    draw("picture.png")
    source = write_rows(tmp_path / "one.jsonl", [{"image": "picture.png", "id": "one"}])
    with_features(source, data_dir, ["one"])
    catalogue = CatalogueReader(data_dir)
    writer = CatalogueWriter(data_dir, catalogue)
    return Between(lambda: writer.delete(["one"]))


def test_a_picture_that_waits_to_be_stored_keeps_its_files_when_its_copy_is_deleted(
    data_dir: DataDir, tmp_path: Path, deleting_one: Between
) -> None:
    source = write_rows(tmp_path / "two.jsonl", [{"image": "picture.png", "id": "two"}])
    with_features(source, data_dir, ["two"], keep_originals=True, progress=deleting_one)

    (stored,) = records(data_dir).values()
    assert stored.id == "two" and stored.sha256 is not None
    assert original_path(data_dir, stored.sha256).read_bytes() == (tmp_path / "picture.png").read_bytes()
    assert verify_data_dir(data_dir, SilentProgress()) == []


def test_no_original_is_kept_for_it_where_none_are_kept(
    data_dir: DataDir, tmp_path: Path, deleting_one: Between
) -> None:
    source = write_rows(tmp_path / "two.jsonl", [{"image": "picture.png", "id": "two"}])
    with_features(source, data_dir, ["two"], progress=deleting_one)

    (stored,) = records(data_dir).values()
    assert stored.sha256 is not None and thumbnail_path(data_dir, stored.sha256).exists()
    assert not original_path(data_dir, stored.sha256).exists()


def test_a_file_that_is_altered_meanwhile_gives_no_thumbnail_of_another_picture(
    data_dir: DataDir, tmp_path: Path, draw: Draw, deleting_one: Between
) -> None:
    def delete_and_alter() -> None:
        deleting_one._do()
        draw("picture.png", seed=9)

    source = write_rows(tmp_path / "two.jsonl", [{"image": "picture.png", "id": "two"}])
    with_features(source, data_dir, ["two"], progress=Between(delete_and_alter))
    again = with_features(source, data_dir, ["two"])

    assert again.stored == 1 and verify_data_dir(data_dir, SilentProgress()) == []
