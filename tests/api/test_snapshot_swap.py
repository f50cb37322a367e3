"""A running service moves to a new snapshot, and past a damaged one, without a wrong answer."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.serving_state import ServingStates
from gnn.query import QueryEngine
from gnn.reindex import reindex
from graph_store.checksums import sha256_of_files
from graph_store.data_dir import DataDir
from graph_store.durable import write_bytes
from graph_store.milvus_server import IndexUnreachable
from graph_store.snapshot import Snapshot, SnapshotWriter
from tests.api.conftest import problem, service_of, serving
from tests.graph_store.test_snapshot import failing_reads
from tests.shapes import Shape


def commit_copy(data_dir: DataDir) -> Snapshot:
    """Make a new snapshot that holds the same as the current one."""
    current = Snapshot.open(data_dir)
    told = {"schema_version", "version", "created", "files"}
    with data_dir.lock("test"), SnapshotWriter(data_dir) as writer:
        for name in current.manifest["files"]:
            shutil.copyfile(current.directory / name, writer.path(name))
        return writer.commit({key: value for key, value in current.manifest.items() if key not in told})


def damage(snapshot: Snapshot) -> str:
    """Flip one bit in the largest file; returns its name."""
    name = max(snapshot.manifest["files"], key=lambda file: snapshot.manifest["files"][file]["size"])
    path = snapshot.directory / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    return str(name)


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 120  # a busy machine takes its time
    while not holds():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def version(client: TestClient) -> str:
    return str(client.get("/v1/index").json()["index_version"])


def two_pages(
    client: TestClient, body: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The first page, what asks for the second one, and that."""
    first = client.post("/v1/search", json=body).json()
    with_cursor = {**body, "cursor": first["next_cursor"]}
    return first, with_cursor, client.post("/v1/search", json=with_cursor).json()


def test_a_new_snapshot_is_served_without_a_failed_or_mixed_answer(
    built_copy: DataDir, indexed: list[Shape]
) -> None:
    with serving(built_copy.root) as client:
        first = version(client)
        body = {"image": {"id": indexed[0].id}, "limit": 5}
        expected = client.post("/v1/search", json=body).json()["hits"]
        stop = threading.Event()
        answers: list[Any] = []

        def ask() -> None:
            while not stop.is_set():
                answers.append(client.post("/v1/search", json=body))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            wait_until(lambda: len(answers) > 0)
            second = commit_copy(built_copy).version
            wait_until(lambda: answers[-1].json().get("index_version") == second)
        finally:
            stop.set()
            thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["index_version"] for answer in answers} == {first, second}
    assert all(answer.json()["hits"] == expected for answer in answers)


def test_a_cursor_outlives_the_swap_and_ends_with_its_snapshot(
    built_copy: DataDir, indexed: list[Shape]
) -> None:
    body: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 5}
    with serving(built_copy.root) as client:
        first, with_cursor, second = two_pages(client, body)
        newer = commit_copy(built_copy).version
        wait_until(lambda: version(client) == newer)
        assert client.post("/v1/search", json=with_cursor).json()["hits"] == second["hits"]
        assert client.post("/v1/search", json=with_cursor).json()["index_version"] == first["index_version"]
    with serving(built_copy.root) as client:
        # Another process opens the older snapshot again, while it is there.
        assert client.post("/v1/search", json=with_cursor).json()["hits"] == second["hits"]
    shutil.rmtree(built_copy.snapshots_dir / first["index_version"])
    with serving(built_copy.root) as client:
        gone = problem(client.post("/v1/search", json=with_cursor), 410, "cursor-gone")
        assert gone["errors"][0]["pointer"] == "/cursor"


def test_a_cursor_whose_snapshot_is_removed_while_it_is_opened_is_gone(
    built_copy: DataDir, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    body: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 5}
    with serving(built_copy.root) as client:
        first = client.post("/v1/search", json=body).json()
    commit_copy(built_copy)
    opened = QueryEngine.open

    def removing(snapshot: Snapshot, *rest: Any) -> QueryEngine:
        """As a reindex does that ends at this moment."""
        if snapshot.version == first["index_version"]:
            shutil.rmtree(snapshot.directory)
        return opened(snapshot, *rest)

    with serving(built_copy.root) as client:
        monkeypatch.setattr(QueryEngine, "open", removing)
        asked = client.post("/v1/search", json={**body, "cursor": first["next_cursor"]})
        problem(asked, 410, "cursor-gone")


@pytest.mark.parametrize(
    ("answers", "status", "code"), [(False, 503, "index-unreachable"), (True, 410, "cursor-gone")]
)
def test_a_cursor_is_gone_when_milvus_has_dropped_its_vectors_and_not_while_milvus_is_away(
    built_copy: DataDir,
    indexed: list[Shape],
    monkeypatch: pytest.MonkeyPatch,
    answers: bool,
    status: int,
    code: str,
) -> None:
    body: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 5}
    with serving(built_copy.root) as client:
        first = client.post("/v1/search", json=body).json()
    commit_copy(built_copy)

    def unreachable(*_: Any) -> QueryEngine:
        raise IndexUnreachable("Milvus does not hold them, or does not answer")

    class Server:
        def has(self, _: str) -> bool:
            if not answers:
                raise IndexUnreachable("Milvus does not answer")
            return False

    with serving(built_copy.root) as client:
        monkeypatch.setattr(QueryEngine, "open", unreachable)
        monkeypatch.setattr("app.serving_state.milvus_collection", lambda _: "imsage_1")
        monkeypatch.setattr(service_of(client).states, "milvus", Server())
        asked = client.post("/v1/search", json={**body, "cursor": first["next_cursor"]})
        problem(asked, status, code)


def test_a_cursor_is_not_gone_because_its_snapshot_cannot_be_read_just_now(
    built_copy: DataDir, indexed: list[Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    body: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 5}
    older = Snapshot.open(built_copy)
    with serving(built_copy.root) as client:
        _, with_cursor, second = two_pages(client, body)
    commit_copy(built_copy)
    with serving(built_copy.root) as client:
        with monkeypatch.context() as blip:
            failing_reads(blip, errno.EIO, older)
            problem(client.post("/v1/search", json=with_cursor), 503, "unreadable-file")
        assert client.post("/v1/search", json=with_cursor).json()["hits"] == second["hits"]


def test_while_milvus_is_away_no_snapshot_is_read_as_a_whole_again_and_again(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Snapshot.open(built_copy)
    commit_copy(built_copy)
    read: list[str] = []

    def noted(paths: Sequence[Path]) -> Iterator[str]:
        read.append(paths[0].parent.name)
        return sha256_of_files(paths)

    def unreachable(*_: Any) -> QueryEngine:
        raise IndexUnreachable("Milvus does not answer")

    monkeypatch.setattr("graph_store.snapshot_files.sha256_of_files", noted)
    states = ServingStates(built_copy, lambda _: None)
    with monkeypatch.context() as away:
        away.setattr(QueryEngine, "open", unreachable)
        for _ in range(3):
            states.refresh()
            assert states.pinned(older.version) is None
        assert len(read) == 2
    states.refresh()
    assert states.current.version == Snapshot.open(built_copy, verify=False).version and len(read) == 2
    # What waits for nothing is read as a whole before it is opened again.
    assert states.pinned(older.version) is not None
    states.close()
    assert states.pinned(older.version) is not None and len(read) == 3


def test_a_state_holds_the_ids_of_its_images_once(built_copy: DataDir) -> None:
    states = ServingStates(built_copy, lambda _: None)
    states.refresh()
    assert states.current.records.ids is states.current.engine.image_ids


def test_a_cursor_whose_snapshot_can_no_longer_be_told_what_was_removed_is_gone(
    built_copy: DataDir, indexed: list[Shape]
) -> None:
    body: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 5}
    with serving(built_copy.root) as client:
        first, with_cursor, second = two_pages(client, body)
        reindex(built_copy, full=True, keep=1)
        wait_until(lambda: version(client) != first["index_version"])
        # The server still holds the older one, and it knows all that has been written.
        assert client.post("/v1/search", json=with_cursor).json()["hits"] == second["hits"]
        assert client.delete(f"/v1/images/{second['hits'][0]['id']}").status_code == 200
        reindex(built_copy, keep=1)
        problem(client.post("/v1/search", json=with_cursor), 410, "cursor-gone")


def test_a_batch_refuses_a_cursor_of_another_snapshot_and_takes_one_of_its_own(
    built_copy: DataDir, indexed: list[Shape]
) -> None:
    body: dict[str, Any] = {"image": {"id": indexed[0].id}, "limit": 5}
    with serving(built_copy.root) as client:

        def batch(cursor: str) -> Any:
            return client.post("/v1/search/batch", json={"queries": [body, {**body, "cursor": cursor}]})

        first = client.post("/v1/search", json=body).json()
        own = batch(first["next_cursor"])
        newer = commit_copy(built_copy).version
        wait_until(lambda: version(client) == newer)
        refused = problem(batch(first["next_cursor"]), 422, "invalid-request")
        alone = client.post("/v1/search", json={**body, "cursor": first["next_cursor"]})
        reindex(built_copy, keep=1)
        shutil.rmtree(built_copy.snapshots_dir / first["index_version"], ignore_errors=True)
        client.app.state.service.states._old.clear()
        gone = problem(batch(first["next_cursor"]), 410, "cursor-gone")
        assert gone["errors"][0]["pointer"] == "/queries/1/cursor"

    assert {result["index_version"] for result in own.json()["results"]} == {first["index_version"]}
    (wrong,) = refused["errors"]
    assert wrong["pointer"] == "/queries/1/cursor"
    assert first["index_version"] in wrong["detail"] and newer in wrong["detail"]
    assert alone.status_code == 200 and alone.json()["hits"] == own.json()["results"][1]["hits"]


def test_what_is_served_answers_everything_also_when_its_files_are_gone(
    built_copy: DataDir, indexed: list[Shape]
) -> None:
    questions: list[dict[str, Any]] = [
        {"image": {"id": indexed[0].id}, "explain": True},
        {"image": {"id": indexed[0].id}, "tags": ["red"], "visual_weight": 0.2},
        {"text": "a round thing"},
        {"tags": ["red"], "filter": {"must": [{"key": "shape_group", "match": "round"}]}, "diversity": 0.5},
        {"tags": ["red"], "collapse": 0.9},
    ]

    def answers(client: TestClient) -> list[Any]:
        found = [client.post("/v1/search", json=question) for question in questions]
        found.append(client.post("/v1/tags/predict", json={"image": {"id": indexed[1].id}}))
        found.append(client.get(f"/v1/images/{indexed[2].id}/neighbors"))
        assert {answer.status_code for answer in found} == {200}, [answer.text for answer in found]
        return [{key: value for key, value in answer.json().items() if key != "took_ms"} for answer in found]

    with serving(built_copy.root) as client:
        expected = answers(client)
    with serving(built_copy.root) as client:
        shutil.rmtree(built_copy.snapshots_dir)
        assert answers(client) == expected


def test_a_damaged_new_snapshot_is_refused_by_name_and_the_old_one_serves(
    built_copy: DataDir, indexed: list[Shape]
) -> None:
    with serving(built_copy.root, snapshot_poll_seconds=0.01) as client:
        first = version(client)
        current = built_copy.current_path.read_bytes()
        second = commit_copy(built_copy)
        wait_until(lambda: version(client) == second.version)
        write_bytes(built_copy.current_path, current)
        wait_until(lambda: version(client) == first)
        name = damage(second)
        write_bytes(built_copy.current_path, f"{second.version}\n".encode())
        wait_until(lambda: client.get("/readyz").json()["status"] == "degraded")
        ready = client.get("/readyz")
        assert ready.status_code == 200 and name in ready.json()["detail"]
        assert ready.json()["index_version"] == first
        assert name in client.get("/v1/index").json()["degraded"]
        assert client.post("/v1/search", json={"image": {"id": indexed[0].id}}).status_code == 200


def test_a_service_that_starts_on_a_damaged_snapshot_serves_the_last_good_one(
    built_copy: DataDir,
) -> None:
    first = Snapshot.open(built_copy).version
    damage(commit_copy(built_copy))
    with serving(built_copy.root) as client:
        assert version(client) == first
        assert client.get("/readyz").json()["status"] == "degraded"
        mended = commit_copy_of(built_copy, first)
        wait_until(lambda: version(client) == mended)
        assert client.get("/readyz").json()["status"] == "ok"


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RuntimeError("it broke")])
def test_a_service_that_starts_on_a_snapshot_that_it_cannot_open_at_all_serves_the_one_before(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    first = Snapshot.open(built_copy).version
    second = commit_copy(built_copy).version
    opened = QueryEngine.open

    def failing(snapshot: Snapshot, *rest: Any) -> QueryEngine:
        if snapshot.version == second:
            raise error
        return opened(snapshot, *rest)

    monkeypatch.setattr(QueryEngine, "open", failing)
    with serving(built_copy.root) as client:
        assert version(client) == first
        ready = client.get("/readyz").json()
        assert ready["status"] == "degraded" and str(error) in ready["detail"]
        assert "imsage_index_degraded 1.0" in client.get("/metrics").text


def commit_copy_of(data_dir: DataDir, version: str) -> str:
    write_bytes(data_dir.current_path, f"{version}\n".encode())
    return commit_copy(data_dir).version


def test_a_service_with_only_a_damaged_snapshot_is_not_ready(built_copy: DataDir) -> None:
    name = damage(Snapshot.open(built_copy))
    with serving(built_copy.root) as client:
        body = problem(client.get("/readyz"), 503, "nothing-to-serve")
        assert name in body["detail"]


@pytest.mark.parametrize("what", ["catalogue", "thumbnails"])
def test_search_goes_on_where_something_beside_the_snapshot_is_missing(
    built_copy: DataDir, indexed: list[Shape], what: str
) -> None:
    if what == "catalogue":
        built_copy.catalog_path.unlink()
    else:
        shutil.rmtree(built_copy.blobs_dir)
    with serving(built_copy.root) as client:
        assert client.post("/v1/search", json={"image": {"id": indexed[0].id}}).status_code == 200
        assert client.get("/v1/index").status_code == 200
        response = client.get(f"/v1/images/{indexed[0].id}/thumbnail")
        problem(response, 503 if what == "catalogue" else 404)
