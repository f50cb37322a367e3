"""Two who would write at once: the second is told of the first, or waits its turn, and nothing is lost."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.archive import export_archive, import_archive
from app.cli import run
from app.cli.errors import FAILURE
from app.ingest.pipeline import ingest
from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.progress import Progress
from tests.api.conftest import png, serving
from tests.copies import copy_of
from tests.hostile.corpus import noise, saved
from tests.ingest.conftest import write_rows
from tests.shapes import all_shapes

HOLDERS = ("ingest", "train", "reindex", "export", "import")
COMMANDS = ("ingest", "train", "reindex", "export", "import", "build")
PATIENCE = 60.0


class Stopped(Exception):
    """The work that held the directory has been told to end."""


class Standing:
    """A progress that stands still in the first phase that it is told of, and then ends the work."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.let_go = threading.Event()

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        self.reached.set()
        assert self.let_go.wait(PATIENCE)
        raise Stopped(name)
        yield lambda _: None


@pytest.fixture(scope="module")
def built(built_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    """A copy that all tests of this file share: none of them gets to change anything."""
    root = tmp_path_factory.mktemp("two") / "data"
    copy_of(built_data_dir.root, root)
    return DataDir(root)


@pytest.fixture(scope="module")
def archive(ingested_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("archive") / "shapes.tar"
    assert run(["export", str(file), "--data", str(ingested_data_dir.root)]) == 0
    return file


@contextmanager
def held(purpose: str, data_dir: DataDir, source: Path, archive: Path, folder: Path) -> Iterator[None]:
    """The real work of that command, standing still while it has the directory to itself."""
    standing = Standing()
    progress: Progress = standing
    work: dict[str, Callable[[], Any]] = {
        "ingest": lambda: ingest(source, data_dir, progress=progress),
        "train": lambda: train(data_dir, epochs=1, progress=progress),
        "reindex": lambda: reindex(data_dir, full=True, progress=progress),
        "export": lambda: export_archive(data_dir, folder / "out.tar", progress),
        "import": lambda: import_archive(archive, data_dir, progress),
    }
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work[purpose])
        try:
            assert standing.reached.wait(PATIENCE), running.exception(0)
            yield
        finally:
            standing.let_go.set()
            assert isinstance(running.exception(PATIENCE), Stopped)


def told(capsys: pytest.CaptureFixture[str], purpose: str) -> None:
    """One line that names the holder's process and what it does, and what to do about it."""
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"in use by process {os.getpid()} ({purpose})" in line and "Wait for it to end" in line


@pytest.mark.parametrize("holder", HOLDERS)
def test_every_writing_command_is_refused_while_another_works_and_says_which(
    holder: str,
    built: DataDir,
    shapes_source: Path,
    archive: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data_dir = DataDir(tmp_path / "empty") if holder == "import" else built
    commands: dict[str, list[str]] = {
        "ingest": ["ingest", str(shapes_source)],
        "train": ["train", "--epochs", "1"],
        "reindex": ["reindex"],
        "export": ["export", str(tmp_path / "second.tar")],
        "import": ["import", str(archive)],
        "build": ["build", str(shapes_source)],
    }
    assert set(commands) == set(COMMANDS)
    before = _state(data_dir) if holder != "import" else None
    with held(holder, data_dir, shapes_source, archive, tmp_path):
        capsys.readouterr()
        for name, command in commands.items():
            if holder == "import" and name == "export":
                continue  # there is no catalogue yet, and it says so
            assert run([*command, "--data", str(data_dir.root)]) == FAILURE, name
            told(capsys, holder)
    assert not (tmp_path / "second.tar").exists()
    if before is not None:
        assert _state(data_dir) == before


def _state(data_dir: DataDir) -> tuple[str, int, set[str]]:
    with Catalog.open(data_dir.catalog_path) as catalog:
        count = catalog.count()
    return data_dir.current_path.read_text(), count, {path.name for path in data_dir.snapshots_dir.iterdir()}


@pytest.mark.parametrize("holder", ["ingest", "train", "reindex"])
def test_a_running_service_takes_writes_while_a_command_works(
    holder: str, built: DataDir, shapes_source: Path, archive: Path, tmp_path: Path
) -> None:
    picture = {"data": base64.b64encode(png(all_shapes()[0])).decode()}
    body = {"images": [{"id": f"beside {holder}", "image": picture}]}
    with serving(built.root) as client, held(holder, built, shapes_source, archive, tmp_path):
        assert client.post("/v1/images", json=body).json()["created"] == 1
        assert client.delete(f"/v1/images/beside%20{holder}").status_code == 200
        refused = client.post("/v1/jobs", json={"kind": "reindex"})
        assert refused.status_code == 409
        assert f"process {os.getpid()} ({holder})" in refused.json()["detail"]


def test_two_services_and_a_command_that_write_at_once_lose_nothing(
    built_copy: DataDir, tmp_path: Path
) -> None:
    number = 12
    for each in range(number):
        noise(size=(20 + each, 20)).save(tmp_path / f"{each}.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": f"{each}.png"} for each in range(number)])

    def write(client: Any, name: str) -> None:
        for each in range(number):
            data = base64.b64encode(saved(noise(size=(40 + each, 30)), "PNG")).decode()
            body = {"images": [{"id": f"{name}/{each}", "image": {"data": data}, "tags": [name]}]}
            assert client.post("/v1/images", json=body).json()["created"] == 1

    with serving(built_copy.root) as one, serving(built_copy.root) as other, ThreadPoolExecutor(3) as pool:
        tasks = [pool.submit(write, one, "one"), pool.submit(write, other, "other")]
        tasks.append(pool.submit(lambda: ingest(source, built_copy, batch_size=2)))
        for task in tasks:
            task.result(PATIENCE * 4)
    names = [f"{name}/{each}" for name in ("one", "other") for each in range(number)]
    with Catalog.open(built_copy.catalog_path) as catalog:
        found = catalog.find([*names, *(f"{each}.png" for each in range(number))])
        rows = [record.row for record in catalog.records()]
    assert len(found) == 3 * number
    assert len(set(rows)) == len(rows)
    assert run(["verify", "--data", str(built_copy.root)]) == 0
