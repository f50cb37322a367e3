"""What an older imsage wrote is read, brought up to date with a copy kept, or refused by name; of what a
newer one wrote it is said that it is newer.

Below this folder lie tiny data directories that earlier imsages made (`tests.old_data.make`): when `one` was
made catalogues had no revisions, and `two` has them. Before both, models had format 1.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from app.archive import import_archive
from app.archive_contents import LISTING
from app.cli import run
from app.jobs.places import jobs_path
from app.jobs.schema import make_if_new
from app.jobs.store import JobStore
from app.keys import create_key, keys_path, read_keys
from app.verify import verify_data_dir
from gnn.reindex import reindex
from gnn.trained_model import FORMAT, load_trained_model
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import ImsageError
from graph_store.progress import SilentProgress
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import json_bytes, seal
from tests.api.conftest import serving
from tests.old_data.make import NUM, dump

HERE = Path(__file__).parent


def opened(name: str, folder: Path) -> DataDir:
    """The data directory as it lay on the disk of that imsage's user."""
    data_dir = DataDir(folder / name)
    left_out = shutil.ignore_patterns("catalog.sql", "answers.json")
    shutil.copytree(HERE / name, data_dir.root, ignore=left_out)
    data_dir.create()
    with closing(sqlite3.connect(data_dir.catalog_path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((HERE / name / "catalog.sql").read_text(encoding="utf-8"))
    return data_dir


@pytest.fixture
def one(tmp_path: Path) -> DataDir:
    return opened("one", tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> DataDir:
    return opened("two", tmp_path)


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.parametrize("name", ["one", "two"])
def test_an_old_catalogue_still_says_what_it_said(name: str, tmp_path: Path) -> None:
    data_dir = opened(name, tmp_path)
    with Catalog.open(data_dir.catalog_path) as catalog:
        records = {record.id: record for record in catalog.records()}
        assert len(records) == catalog.count() == catalog.next_row() == NUM
        assert records["image-5"].attributes == {"year": 2005, "place": {"city": "Oslo"}}
        assert (records["image-5"].path, records["image-5"].caption) == ("pictures/5.jpg", "a caption")
        assert {record.split for record in records.values()} == {"train", "test"}
        assert set(catalog.tag_counts()) == {"dog", "cat", "Straße", "red sofa"}
        assert [skip.item for skip in catalog.skips()] == ["image-24"]


def test_the_first_write_to_an_old_catalogue_keeps_a_copy_of_it_and_is_not_repeated(one: DataDir) -> None:
    before = dump(one.catalog_path)
    with Catalog.open(one.catalog_path) as catalog:
        catalog.delete(["image-0"])
        assert list(catalog.changes(0).by_id) == ["image-0"]
    copy = one.root / "catalog.sqlite.v1"
    assert dump(copy) == before
    with Catalog.open(one.catalog_path) as catalog:
        catalog.delete(["image-1"])
    assert (version_of(one.catalog_path), version_of(copy)) == (2, 1)
    assert dump(copy) == before


WRITE_AND_DIE = """
import sys
from pathlib import Path
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from tests.chaos.points import Points
data_dir = DataDir(Path(sys.argv[1]))
Points(data_dir, die_at=(sys.argv[2], 1)).watch_files()
with Catalog.open(data_dir.catalog_path) as catalog:
    catalog.delete(["image-0"])
"""


@pytest.mark.parametrize(
    "moment",
    [
        "before fsync .catalog.sqlite.v#.tmp",
        "before replace .catalog.sqlite.v#.tmp",
        "after replace .catalog.sqlite.v#.tmp",
    ],
)
def test_the_next_write_takes_up_what_a_killed_one_had_begun_to_bring_up_to_date(
    one: DataDir, moment: str
) -> None:
    before = dump(one.catalog_path)
    killed = subprocess.run(
        [sys.executable, "-c", WRITE_AND_DIE, str(one.root), moment],
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert dump(one.catalog_path) == before
    with Catalog.open(one.catalog_path) as catalog:
        catalog.delete(["image-0"])
    assert dump(one.root / "catalog.sqlite.v1") == before
    assert version_of(one.catalog_path) == 2
    assert not list(one.root.glob(".catalog*"))


@pytest.mark.parametrize("name", ["one", "two"])
def test_old_data_answers_as_it_did(name: str, tmp_path: Path) -> None:
    data_dir = opened(name, tmp_path)
    told: list[dict[str, Any]] = json.loads((HERE / name / "answers.json").read_bytes())
    assert verify_data_dir(data_dir, SilentProgress()) == []
    with serving(data_dir.root) as client:
        for question in told:
            body = {"limit": 8, "visual_weight": question.get("visual_weight", 0.5)}
            body |= {"image": {"id": question["id"]}} if "id" in question else {"tags": question["tags"]}
            hits = client.post("/v1/search", json=body).json()["hits"]
            expected = [
                (image_id, score)
                for image_id, score in zip(question["ids"], question["scores"], strict=True)
                if image_id != question.get("id")
            ]
            assert [hit["id"] for hit in hits][: len(expected)] == [image_id for image_id, _ in expected]
            scores = [score for _, score in expected]
            assert [hit["score"] for hit in hits][: len(scores)] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("name", ["one", "two"])
def test_old_data_is_written_to_and_indexed_anew(name: str, tmp_path: Path) -> None:
    data_dir = opened(name, tmp_path)
    with serving(data_dir.root) as client:
        assert client.patch("/v1/images/image-3", json={"tags": ["cat"]}).status_code == 200
    assert reindex(data_dir).version.startswith("000002-")
    assert verify_data_dir(data_dir, SilentProgress()) == []


def test_a_model_of_the_first_format_is_refused_and_the_way_out_leads_out(
    two: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(HERE / "model_of_format_1.safetensors", two.models_dir / "default" / "model.safetensors")
    assert run(["reindex", "--full", "--data", str(two.root)]) == 1
    told = capsys.readouterr().err
    assert f"has format 1; this version reads {FORMAT}. Train and reindex again." in told
    assert told.count("\n") == 1
    assert run(["train", "--epochs", "1", "--data", str(two.root)]) == 0
    assert run(["reindex", "--data", str(two.root)]) == 0
    with serving(two.root) as client:
        hits = client.post("/v1/search", json={"tags": ["dog"], "limit": 50}).json()["hits"]
        assert len(hits) == len([n for n in range(NUM) if n % 7 != 6])


# -- of a newer imsage


def newer_catalogue(data_dir: DataDir) -> object:
    with closing(sqlite3.connect(data_dir.catalog_path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    return Catalog.open(data_dir.catalog_path)


def newer_snapshot(data_dir: DataDir) -> object:
    directory = Snapshot.open(data_dir).directory
    manifest = json.loads((directory / "manifest.json").read_bytes())
    data = json_bytes({**manifest, "schema_version": 99})
    (directory / "manifest.json").write_bytes(data)
    (directory / "manifest.sha256").write_bytes(seal(data))
    return Snapshot.open(data_dir)


def newer_model(data_dir: DataDir) -> object:
    path = data_dir.models_dir / "default" / "model.safetensors"
    with safe_open(path, framework="pt") as handle:
        meta = json.loads(handle.metadata()["meta"])
    save_file(load_file(path), path, {"meta": json.dumps({**meta, "format": 99})})
    return load_trained_model(path.parent)


def newer_jobs(data_dir: DataDir) -> object:
    make_if_new(jobs_path(data_dir))
    with closing(sqlite3.connect(jobs_path(data_dir))) as connection:
        connection.execute("PRAGMA user_version = 99")
    with closing(JobStore(jobs_path(data_dir))) as store:
        return store.active()


def newer_keys(data_dir: DataDir) -> object:
    create_key(data_dir, "a", "read")
    stored = json.loads(keys_path(data_dir).read_bytes())
    keys_path(data_dir).write_text(json.dumps({**stored, "schema": 99}))
    return read_keys(keys_path(data_dir))


def newer_archive(data_dir: DataDir) -> object:
    file = data_dir.root / "archive.tar"
    with tarfile.open(file, "w") as archive:
        head = json.dumps({"format": 99, "files": {}}).encode()
        entry = tarfile.TarInfo(LISTING)
        entry.size = len(head)
        archive.addfile(entry, io.BytesIO(head))
    return import_archive(file, DataDir(data_dir.root / "imported"), SilentProgress())


@pytest.mark.parametrize(
    "open_newer",
    [newer_catalogue, newer_snapshot, newer_model, newer_jobs, newer_keys, newer_archive],
    ids=lambda each: each.__name__,
)
def test_what_a_newer_imsage_wrote_is_refused_with_the_way_out(
    two: DataDir, open_newer: Callable[[DataDir], object]
) -> None:
    with pytest.raises(ImsageError) as refusal:
        open_newer(two)
    assert "99" in refusal.value.message
    assert "newer imsage" in refusal.value.hint
