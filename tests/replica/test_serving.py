"""A replica answers as the server does that publishes, follows it, and says so when it cannot."""

from __future__ import annotations

import shutil
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.access import needed_scope
from app.api.application import create_app
from app.jobs.schedule import schedule_of
from app.replica.follower import Follower
from app.serve import serve
from app.settings import Settings, load_settings
from gnn.reindex import reindex
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from graph_store.snapshot import Snapshot, SnapshotWriter
from graph_store.snapshot_store import SnapshotStore, StoreUnreachable
from tests.api.conftest import problem, serving
from tests.api.test_serve import started
from tests.api.test_snapshot_swap import commit_copy, damage, version, wait_until
from tests.shapes import Shape, all_shapes, is_test

INDEXED: list[Shape] = [shape for shape in all_shapes() if not is_test(shape.id)]
HELD_OUT = next(shape for shape in all_shapes() if is_test(shape.id))
SEARCH: dict[str, Any] = {"image": {"id": INDEXED[0].id}, "limit": 5}
QUESTIONS: list[dict[str, Any]] = [
    SEARCH,
    {**SEARCH, "explain": True, "visual_weight": 0.2, "tags": ["red"]},
    {"text": "a round thing"},
    {"tags": ["red"], "filter": {"must": [{"key": "tags", "match": "round"}]}, "diversity": 0.5},
]


def following(replica: DataDir, store: SnapshotStore, **settings: Any) -> AbstractContextManager[TestClient]:
    chosen = {"replica": True, "snapshot_store": store.url, "replica_poll_seconds": 0.05, **settings}
    return serving(replica.root, **chosen)


def status(client: TestClient) -> Any:
    return client.get("/readyz").json().get("status")


def answers(client: TestClient) -> list[Any]:
    found = [client.post("/v1/search", json=question) for question in QUESTIONS]
    found.append(client.post("/v1/tags/predict", json={"image": {"id": INDEXED[1].id}}))
    found.append(client.get(f"/v1/images/{INDEXED[2].id}/neighbors"))
    assert {answer.status_code for answer in found} == {200}, [answer.text for answer in found]
    return [{key: value for key, value in answer.json().items() if key != "took_ms"} for answer in found]


def test_a_replica_answers_as_the_server_that_publishes(
    built_data_dir: DataDir, client: TestClient, store: SnapshotStore, replica: DataDir
) -> None:
    store.publish(Snapshot.open(built_data_dir), keep=3)
    with following(replica, store) as follower:
        wait_until(lambda: status(follower) == "ok")
        assert answers(follower) == answers(client)
        assert version(follower) == version(client) == store.current()
    assert not replica.catalog_path.exists()


def test_a_newer_snapshot_is_served_while_requests_go_on(
    built_copy: DataDir, store: SnapshotStore, replica: DataDir
) -> None:
    first = Snapshot.open(built_copy)
    store.publish(first, keep=3)
    with following(replica, store) as client:
        wait_until(lambda: status(client) == "ok")
        stop = threading.Event()
        found: list[Any] = []

        def ask() -> None:
            while not stop.is_set():
                found.append(client.post("/v1/search", json=SEARCH))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            wait_until(lambda: len(found) > 0)
            second = commit_copy(built_copy)
            store.publish(second, keep=3)
            wait_until(lambda: found[-1].json().get("index_version") == second.version)
        finally:
            stop.set()
            thread.join()
    assert {answer.status_code for answer in found} == {200}
    assert {answer.json()["index_version"] for answer in found} == {first.version, second.version}
    assert len({str(answer.json()["hits"]) for answer in found}) == 1


def commit_with_news(data_dir: DataDir) -> Snapshot:
    """A new snapshot that holds the same as the current one and one file more."""
    current = Snapshot.open(data_dir)
    told = {"schema_version", "version", "created", "files"}
    with data_dir.lock("test"), SnapshotWriter(data_dir) as writer:
        for name in current.manifest["files"]:
            shutil.copyfile(current.directory / name, writer.path(name))
        writer.json("news", {"before": current.version})
        return writer.commit({key: value for key, value in current.manifest.items() if key not in told})


def test_a_damaged_file_in_the_store_is_named_and_the_last_good_one_serves(
    built_copy: DataDir, store: SnapshotStore, replica: DataDir
) -> None:
    first = Snapshot.open(built_copy)
    store.publish(first, keep=3)
    with following(replica, store) as client:
        wait_until(lambda: status(client) == "ok")
        second = commit_with_news(built_copy)
        news = second.path("news.json")
        whole = news.read_bytes()
        news.write_bytes(whole[:-1] + b"?")
        store.publish(second, keep=3)
        wait_until(lambda: status(client) == "degraded")
        ready = client.get("/readyz")
        assert ready.status_code == 200 and f"{second.version}/news.json" in ready.json()["detail"]
        assert version(client) == first.version
        assert client.post("/v1/search", json=SEARCH).status_code == 200
        store.files[0].pipe_file(store.path("snapshots", second.version, "news.json"), whole)
        wait_until(lambda: status(client) == "ok")
        wait_until(lambda: version(client) == second.version)


def test_with_the_store_gone_a_replica_serves_on_and_says_so(
    built_data_dir: DataDir, tmp_path: Path, replica: DataDir
) -> None:
    store = SnapshotStore(f"file://{tmp_path / 'store'}")
    store.publish(Snapshot.open(built_data_dir), keep=3)
    with following(replica, store) as client:
        wait_until(lambda: status(client) == "ok")
        (tmp_path / "store").rename(tmp_path / "away")
        (tmp_path / "store").write_text("in the way")  # not missing: unreadable
        wait_until(lambda: status(client) == "degraded")
        ready = client.get("/readyz")
        assert ready.status_code == 200 and "The snapshot store" in ready.json()["detail"]
        assert "imsage_index_degraded 1.0" in client.get("/metrics").text
        assert client.post("/v1/search", json=SEARCH).status_code == 200
        (tmp_path / "store").unlink()
        (tmp_path / "away").rename(tmp_path / "store")
        wait_until(lambda: status(client) == "ok")


def test_a_replica_starts_empty_and_is_ready_when_it_has_fetched(
    built_data_dir: DataDir, store: SnapshotStore, replica: DataDir
) -> None:
    with following(replica, store) as client:
        wait_until(lambda: "Nothing has been published" in client.get("/readyz").json()["detail"])
        problem(client.get("/readyz"), 503, "nothing-to-serve")
        assert client.get("/livez").status_code == 200
        store.publish(Snapshot.open(built_data_dir), keep=3)
        wait_until(lambda: status(client) == "ok")


def test_a_replica_whose_own_files_are_damaged_mends_them(
    built_data_dir: DataDir, store: SnapshotStore, replica: DataDir
) -> None:
    store.publish(Snapshot.open(built_data_dir), keep=3)
    with following(replica, store) as client:
        wait_until(lambda: status(client) == "ok")
    damage(Snapshot.open(replica))
    with following(replica, store) as client:
        wait_until(lambda: status(client) == "ok")
        assert client.post("/v1/search", json=SEARCH).status_code == 200
    Snapshot.open(replica)


WRITES = [
    ("POST", "/v1/images", {"images": []}),
    ("POST", "/v1/images/delete", {"ids": ["a"]}),
    ("DELETE", "/v1/images/a", None),
    ("PATCH", "/v1/images/a", {"tags": []}),
    ("POST", "/v1/jobs", {"kind": "reindex"}),
    ("POST", "/v1/jobs/000001-00000000/cancel", None),
    ("POST", "/v1/jobs/000001-00000000/resume", None),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_a_replica_takes_no_writes(tmp_path: Path, method: str, path: str, body: Any) -> None:
    store = SnapshotStore(f"file://{tmp_path / 'store'}")
    app = create_app(Settings(data=tmp_path, replica=True, snapshot_store=store.url))
    client = TestClient(app, base_url="http://localhost")
    refused = problem(client.request(method, path, json=body), 403, "read-only-replica")
    assert "takes no writes" in refused["detail"]


def test_every_call_that_writes_is_refused_and_described() -> None:
    described = create_app(Settings(data=Path("nowhere"))).openapi()["paths"]
    writing = {
        (method.upper(), path)
        for path, calls in described.items()
        for method in calls
        if needed_scope(method.upper(), path) == "write"
    }
    tried = {
        (method, path.replace("/a", "/{id}").replace("000001-00000000", "{id}")) for method, path, _ in WRITES
    }
    assert writing == tried
    for method, path in writing:
        assert "replica" in described[path][method.lower()]["responses"]["403"]["description"]


def test_what_only_the_catalogue_knows_is_said_to_be_elsewhere(
    built_data_dir: DataDir, store: SnapshotStore, replica: DataDir
) -> None:
    store.publish(Snapshot.open(built_data_dir), keep=3)
    with following(replica, store) as client:
        wait_until(lambda: status(client) == "ok")
        for part in ("", "/file", "/thumbnail"):
            refused = problem(client.get(f"/v1/images/{INDEXED[0].id}{part}"), 404, "not-on-replica")
            assert "is a replica" in refused["detail"]
        problem(client.get(f"/v1/images/{HELD_OUT.id}/neighbors"), 404, "not-on-replica")
        problem(client.post("/v1/search", json={"image": {"id": HELD_OUT.id}}), 404, "not-found")


def test_a_replica_never_reindexes_by_itself(tmp_path: Path) -> None:
    chosen = {"data": tmp_path, "snapshot_store": "memory://x", "reindex_delta_share": 0.1}
    assert schedule_of(Settings(**chosen)).on
    assert not schedule_of(Settings(**chosen, replica=True)).on


def test_a_refused_version_is_tried_again_ever_less_often_and_a_newer_one_at_once(
    built_copy: DataDir, store: SnapshotStore, replica: DataDir
) -> None:
    first = Snapshot.open(built_copy)
    store.publish(first, keep=3)
    system, _ = store.files
    name = "tags.json"
    place = store.path("snapshots", first.version, name)
    whole = system.cat_file(place)
    system.pipe_file(place, whole[:-1])
    now = [0.0]
    follower = Follower(store, replica, keep=3, seconds=10, clock=lambda: now[0])

    for tried, again in ((0.0, 10.0), (10.0, 30.0), (30.0, 70.0)):
        now[0] = tried
        assert follower.look() is None and name in follower.problem
        system.pipe_file(place, whole)
        now[0] = again - 1
        assert follower.look() is None and name in follower.problem  # not tried yet, or it would be whole
        system.pipe_file(place, whole[:-1])
    newer = commit_copy(built_copy)
    store.publish(newer, keep=3)
    fetched = follower.look()
    assert fetched is not None and fetched.version == newer.version and follower.problem == ""


def test_a_refused_version_that_is_mended_is_fetched_when_its_pause_is_over(
    built_copy: DataDir, store: SnapshotStore, replica: DataDir
) -> None:
    first = Snapshot.open(built_copy)
    store.publish(first, keep=3)
    system, _ = store.files
    place = store.path("snapshots", first.version, "tags.json")
    whole = system.cat_file(place)
    system.pipe_file(place, whole[:-1])
    now = [0.0]
    follower = Follower(store, replica, keep=3, seconds=10, clock=lambda: now[0])
    assert follower.look() is None

    system.pipe_file(place, whole)
    now[0] = 10.0
    assert follower.look() is not None and follower.problem == ""


def test_whatever_goes_wrong_with_a_look_stands_in_the_problem_without_what_logs_in(
    store: SnapshotStore, replica: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(store, replica, keep=3, seconds=10)

    def fail() -> None:
        raise RuntimeError("hunter2 was refused")

    monkeypatch.setattr(follower, "look", fail)
    follower.start()
    wait_until(lambda: follower.problem != "")
    follower.close()
    assert "RuntimeError" in follower.problem and "hunter2" not in follower.problem


# -- settings and commands


def test_a_replica_needs_a_store_and_a_store_is_a_url() -> None:
    with pytest.raises(BadInput, match="replica needs snapshot_store"):
        load_settings(replica=True)
    for wrong in ("/mnt/store", "bucket", "://x", "http://[x:hunter2"):
        with pytest.raises(BadInput, match="this is no URL") as refused:
            load_settings(snapshot_store=wrong)
        assert "hunter2" not in str(refused.value)


def test_a_missing_package_is_told_before_anything_is_done(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(BadInput, match=r"pip install -e \"\.\[s3\]\""):
        serve(Settings(data=built_copy.root, replica=True, snapshot_store="s3://bucket/x"))
    before = sorted(built_copy.snapshots_dir.iterdir())
    with pytest.raises(BadInput, match=r"pip install -e \"\.\[s3\]\""):
        reindex(built_copy, full=True, store=SnapshotStore("s3://bucket/x"))
    assert sorted(built_copy.snapshots_dir.iterdir()) == before


def test_a_reindex_publishes_and_one_that_finds_nothing_new_makes_up_for_it(
    built_copy: DataDir, tmp_path: Path
) -> None:
    store = SnapshotStore(f"file://{tmp_path / 'store'}")
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(StoreUnreachable, match="is current here, and is not published"):
        reindex(built_copy, store=store)
    (tmp_path / "store").unlink()
    made = reindex(built_copy, store=store)
    assert store.current() == made.version == Snapshot.open(built_copy).version


def test_what_logs_in_to_the_store_is_in_no_log_and_no_problem(
    replica: DataDir, capfd: pytest.CaptureFixture[str]
) -> None:
    store = SnapshotStore("ftp://me:hunter2@127.0.0.1:9/imsage?token=s3cr3t")
    with following(replica, store, log_level="debug") as client:
        wait_until(lambda: "store" in client.get("/readyz").json()["detail"])
        told = client.get("/readyz").text + client.get("/metrics").text + client.get("/v1/index").text
    captured = capfd.readouterr()
    everything = told + captured.out + captured.err
    assert "ftp://127.0.0.1:9/imsage" in everything
    assert "hunter2" not in everything and "s3cr3t" not in everything


def test_workers_of_a_replica_share_what_one_of_them_has_fetched(
    built_data_dir: DataDir, tmp_path: Path, replica: DataDir
) -> None:
    store = SnapshotStore(f"file://{tmp_path / 'store'}")
    store.publish(Snapshot.open(built_data_dir), keep=3)
    log = tmp_path / "log"
    chosen = {"replica": True, "snapshot_store": store.url, "replica_poll_seconds": 0.2, "log_format": "json"}
    with started(replica.root, log, workers=2, **chosen) as (client, _):
        wait_until(lambda: log.read_text().count('"snapshot_served"') == 2)
        assert client.post("/v1/search", json=SEARCH).json()["index_version"] == store.current()
    assert log.read_text().count('"snapshot_fetched"') == 1
