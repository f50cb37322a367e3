"""No room, no permission, no file handles, no memory: a clear problem, and searches that go on."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.cli import run
from app.verify import verify_data_dir
from gnn.query import Query, QueryEngine
from gnn.reindex import reindex
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.durable import write_bytes
from graph_store.errors import Unwritable
from graph_store.progress import SilentProgress
from graph_store.snapshot import Snapshot, SnapshotWriter
from tests.api.conftest import png, problem, service_of, serving
from tests.chaos.exhausting import as_nobody, empty, few_handles, fill, read_only, small_file_system
from tests.copies import copy_of
from tests.shapes import Shape

NEW = Shape("red", "circle", "large", 7, (0.52, 0.49), 0.36)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for a catalogue of drawn shapes and two of its snapshots."""
    with small_file_system(tmp_path / "small", "24m") as place:
        yield place


@pytest.fixture
def small_built(small: Path, built_data_dir: DataDir) -> DataDir:
    """The drawn catalogue on that disk, trained and indexed."""
    copy_of(built_data_dir.root, small / "data")
    return DataDir(small / "data")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which a command fails."""
    capsys.readouterr()
    assert run(list(arguments)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("imsage: ") and "fault in imsage" not in lines[0], lines
    return lines[0]


def left_over(data_dir: DataDir) -> list[Path]:
    return [path for path in data_dir.root.rglob(".*") if path.name.endswith(".tmp") or "tmp-" in path.name]


def entry(image_id: str) -> dict[str, Any]:
    return {"id": image_id, "image": {"data": base64.b64encode(png(NEW)).decode()}, "tags": NEW.tags}


def upsert(client: TestClient, image_id: str) -> Any:
    return client.post("/v1/images", json={"images": [entry(image_id)]})


def found(client: TestClient) -> set[str]:
    response = client.post("/v1/search", json={"tags": ["red"], "limit": 1000})
    assert response.status_code == 200, response.text
    return {hit["id"] for hit in response.json()["hits"]}


def is_whole(data_dir: DataDir) -> None:
    assert verify_data_dir(data_dir, SilentProgress()) == []
    assert left_over(data_dir) == []


# -- a full disk


@pytest.mark.parametrize("leave", [0, 96 * 1024])
def test_an_ingestion_that_finds_the_disk_full_says_so_and_goes_on_when_there_is_room(
    small: Path, shapes_source: Path, capsys: pytest.CaptureFixture[str], leave: int
) -> None:
    data_dir = DataDir(small / "data")
    fill(small, leave)
    line = refused(capsys, "ingest", str(shapes_source), "--data", str(data_dir.root))
    assert "disk" in line and str(small) in line
    empty(small)
    assert run(["ingest", str(shapes_source), "--data", str(data_dir.root)]) == 0
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert (catalog.count(), catalog.skips()) == (120, [])
    is_whole(data_dir)


def test_a_training_that_finds_the_disk_full_leaves_the_model_that_was_there(
    small: Path, small_built: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    model = (small_built.models_dir / "default" / "model.safetensors").read_bytes()
    fill(small, 16 * 1024)
    train = ("train", "--epochs", "1", "--data", str(small_built.root))
    assert "the disk is full" in refused(capsys, *train)
    assert (small_built.models_dir / "default" / "model.safetensors").read_bytes() == model
    empty(small)
    assert run(list(train)) == 0
    is_whole(small_built)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_reindex_that_finds_the_disk_full_leaves_the_snapshot_that_was_there(
    small: Path, small_built: DataDir, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    before = Snapshot.open(small_built)
    needed = sum(file["size"] for file in before.manifest["files"].values())
    fill(small, int(share * needed))
    line = refused(capsys, "reindex", "--full", "--data", str(small_built.root))
    assert "the disk is full" in line
    assert Snapshot.open(small_built).version == before.version
    assert [path.name for path in small_built.snapshots_dir.iterdir()] == [before.version]
    empty(small)
    assert run(["reindex", "--full", "--data", str(small_built.root)]) == 0
    assert Snapshot.open(small_built).version != before.version
    is_whole(small_built)


def test_upserts_are_whole_or_refused_at_any_amount_of_room(small: Path, small_built: DataDir) -> None:
    refusals = 0
    with serving(small_built.root) as client:
        stored = found(client)
        for number, leave in enumerate(range(0, 100 * 1024, 16 * 1024)):
            fill(small, leave)
            response = upsert(client, f"new-{number}")
            if response.status_code == 200:
                stored.add(f"new-{number}")
            else:
                refusals += 1
                problem(response, 507, "unwritable")
            assert found(client) == stored
            assert client.get("/v1/images/new-0").status_code == (200 if "new-0" in stored else 404)
        fill(small, 0)
        problem(client.patch(f"/v1/images/{min(stored)}", json={"tags": ["blue"] * 90}), 507, "unwritable")
        problem(client.delete(f"/v1/images/{min(stored)}"), 507, "unwritable")
        assert found(client) == stored
        empty(small)
        assert upsert(client, "at last").status_code == 200
        assert found(client) == {*stored, "at last"}
    assert refusals > 1
    is_whole(small_built)
    with serving(small_built.root) as client:
        assert found(client) == {*stored, "at last"}


# -- no permission


def test_a_read_only_directory_is_served_and_takes_writes_when_it_may(
    built_copy: DataDir, shapes_source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with read_only(built_copy.root):
        started = serving(built_copy.root, snapshot_poll_seconds=3600)
        client = started.__enter__()
        everything = found(client)
        one = min(everything)
        assert client.get(f"/v1/images/{one}/thumbnail").status_code == 200
        assert client.get("/readyz").status_code == 200
        problem(upsert(client, "new"), 507, "unwritable")
        problem(client.delete(f"/v1/images/{one}"), 507, "unwritable")
        problem(client.post("/v1/jobs", json={"kind": "reindex"}), 507, "unwritable")
        assert found(client) == everything
        for command in (["ingest", str(shapes_source)], ["train", "--epochs", "1"], ["reindex", "--full"]):
            assert "read-only" in refused(capsys, *command, "--data", str(built_copy.root))
    try:
        assert upsert(client, "new").status_code == 200
        assert found(client) == {*everything, "new"}
    finally:
        started.__exit__(None, None, None)
    is_whole(built_copy)


def test_a_directory_of_somebody_else_is_read_and_refuses_writes(built_data_dir: DataDir) -> None:
    # Not below pytest's own folder, which nobody else may enter.
    with tempfile.TemporaryDirectory() as folder:
        data_dir = DataDir(Path(folder) / "data")
        copy_of(built_data_dir.root, data_dir.root)
        everything = [Path(folder), data_dir.root, *data_dir.root.rglob("*")]
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            with as_nobody(), Catalog.open(data_dir.catalog_path) as catalog:
                engine = QueryEngine.open(Snapshot.open(data_dir))
                assert len(engine.search(engine.embed(Query(indexed_row=0)), 0.5, 1000).rows) > 50
                with pytest.raises(Unwritable, match="read-only"):
                    catalog.delete([catalog.ids()[0]])
                with pytest.raises(Unwritable, match="permission is denied"), data_dir.lock("reindex"):
                    pass
                with pytest.raises(Unwritable, match="permission is denied"), SnapshotWriter(data_dir):
                    pass
        finally:
            for path in everything:
                path.chmod(0o755)


# -- no file handles


@pytest.mark.parametrize("handles", [0, 5])
def test_commands_without_file_handles_fail_in_one_line_and_lose_nothing(
    built_copy: DataDir, capsys: pytest.CaptureFixture[str], handles: int
) -> None:
    reindex(built_copy)  # so that all modules are loaded, which takes handles too
    for command in (["train", "--epochs", "1"], ["reindex", "--full"]):
        before = Snapshot.open(built_copy).version
        capsys.readouterr()
        with few_handles(handles):
            code = run([*command, "--data", str(built_copy.root)])
        told = capsys.readouterr().err
        assert (code == 1 and "file handles" in told and told.count("\n") == 1) or (handles and code == 0)
        assert code == 0 or Snapshot.open(built_copy).version == before
    # What could not be removed without a handle is removed by the next.
    assert run(["reindex", "--full", "--data", str(built_copy.root)]) == 0
    is_whole(built_copy)


def test_no_picture_is_skipped_because_file_handles_ran_out(
    tmp_path: Path, shapes_source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = DataDir(tmp_path / "data")
    for handles in (1, 3, 6, 8):
        with few_handles(handles):
            code = run(["ingest", str(shapes_source), "--data", str(data_dir.root)])
        told = capsys.readouterr().err
        assert code == 0 or (code == 1 and "file handles" in told), told
    assert run(["ingest", str(shapes_source), "--data", str(data_dir.root)]) == 0
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert (catalog.count(), catalog.skips()) == (120, [])
    is_whole(data_dir)


def test_a_server_without_file_handles_answers_what_it_can_and_then_goes_on(
    built_copy: DataDir, tmp_path: Path
) -> None:
    newer = DataDir(shutil.copytree(built_copy.root, tmp_path / "newer"))
    second = reindex(newer, full=True)
    with serving(built_copy.root, snapshot_poll_seconds=3600) as client:
        states = service_of(client).states
        everything = found(client)
        assert upsert(client, "before").status_code == 200
        shutil.copytree(second.directory, built_copy.snapshots_dir / second.version)
        first = states.current.version
        write_bytes(built_copy.current_path, f"{second.version}\n".encode())
        refusals = 0
        for handles in (0, 1, 4):
            with few_handles(handles):
                assert found(client) == {*everything, "before"}
                answer = upsert(client, "never mind")
                assert answer.status_code in (200, 503), answer.text
                refusals += answer.status_code == 503
                states.refresh()
            if states.current.version == first:
                assert states.changed(), "it must look again"
        assert refusals, "there were handles enough, so nothing was tested"
        states.refresh()
        assert states.current.version == second.version and not states.problem
        assert upsert(client, "after").status_code == 200
        assert found(client) >= {*everything, "before", "after"}
    is_whole(built_copy)


# -- no memory

MEMORY = """
import json, os, resource, sys
from app.cli import run
from tests.api.conftest import serving
from tests.chaos.test_exhaustion import upsert
data, = sys.argv[1:]
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
def under_a_limit(more, work):
    size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + more, hard))
    try:
        return work()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
commands = [["train", "--epochs", "1"], ["reindex", "--full"]]
for command in commands:  # everything is loaded and has run once
    assert run([*command, "--data", data]) == 0
codes = [under_a_limit(2**19, lambda: run([*command, "--data", data])) for command in commands]
assert run(["reindex", "--full", "--data", data]) == 0
with serving(data, log_level="error") as client:
    assert upsert(client, "before").status_code == 200
    answers = [under_a_limit(more, lambda: upsert(client, "under")) for more in (0, 2**19)]
    found = [under_a_limit(0, lambda: client.post("/v1/search", json={"tags": ["red"]})).status_code]
    assert upsert(client, "after").status_code == 200
    found.append(client.post("/v1/search", json={"tags": ["red"]}).status_code)
print(json.dumps([codes, [answer.status_code for answer in answers], found]))
"""


def test_without_memory_commands_fail_in_one_line_and_a_server_goes_on(built_copy: DataDir) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(built_copy.root)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    codes, answers, searches = json.loads(done.stdout.splitlines()[-1])
    assert 1 in codes and {422, 503} & set(answers), "there was memory enough, so nothing was tested"
    assert set(codes) <= {0, 1} and set(answers) <= {200, 422, 503} and searches == [200, 200]
    lines = [line for line in done.stderr.splitlines() if line.startswith("imsage: ")]
    assert len(lines) == sum(codes)
    assert all("no more memory" in line or "no more threads" in line for line in lines), lines
    is_whole(built_copy)
