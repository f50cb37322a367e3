"""A catalogue whose vectors are searched in Milvus: from reindex to answers, and what stays behind there."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # it comes with pymilvus, without annotations
import numpy as np
import pytest

from app.cli import run
from gnn.graph_index import milvus_collection
from gnn.query import Query, QueryEngine
from gnn.reindex import reindex
from gnn.training import train
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile
from graph_store.milvus_index import MilvusIndex
from graph_store.milvus_server import IndexUnreachable, MilvusServer
from graph_store.snapshot import Snapshot
from graph_store.vector_index import SearchResult
from tests.api.conftest import problem, service_of, serving
from tests.api.test_snapshot_swap import wait_until
from tests.copies import copy_of
from tests.gnn.worlds import drawn_features, drawn_records, drawn_tags, write_catalogue

pytestmark = pytest.mark.usefixtures("kept_text_encoder")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    chosen = drawn_tags(72)
    data_dir = write_catalogue(
        tmp_path_factory.mktemp("built"), drawn_records(chosen), drawn_features(chosen)
    )
    train(data_dir, epochs=2)
    return data_dir


@pytest.fixture
def data_dir(trained: DataDir, tmp_path: Path) -> DataDir:
    shutil.copytree(trained.root, tmp_path / "data")
    return DataDir(tmp_path / "data")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MilvusServer]:
    server = MilvusServer(str(tmp_path / "milvus.db"), prefix="shop")
    yield server
    server.close()


def collection_of(snapshot: Snapshot) -> str:
    name = milvus_collection(snapshot)
    assert name is not None
    return name


def test_answers_are_those_of_a_snapshot_that_is_searched_here(
    data_dir: DataDir, server: MilvusServer
) -> None:
    here = QueryEngine.open(reindex(data_dir))
    there = QueryEngine.open(reindex(data_dir, milvus=server), milvus=server)
    for row in range(0, 72, 9):
        for weight in (0.0, 0.5, 1.0):
            expected = here.search(here.embed(Query(indexed_row=row)), weight, 10)
            found = there.search(there.embed(Query(indexed_row=row)), weight, 10)
            np.testing.assert_array_equal(found.rows, expected.rows)
            np.testing.assert_allclose(found.score, expected.score, atol=1e-6)


def test_the_alias_moves_to_the_newest_snapshot(data_dir: DataDir, server: MilvusServer) -> None:
    first = reindex(data_dir, milvus=server)
    assert server.published() == collection_of(first)
    second = reindex(data_dir, full=True, milvus=server)
    assert server.published() == collection_of(second) != collection_of(first)


def test_an_alias_that_a_killed_reindex_left_behind_is_moved_by_the_next(
    data_dir: DataDir, server: MilvusServer
) -> None:
    first = reindex(data_dir, milvus=server)
    second = reindex(data_dir, full=True, milvus=server)
    server.publish(collection_of(first))  # as after a kill between the swap and the alias
    assert reindex(data_dir, milvus=server).version == second.version
    assert server.published() == collection_of(second)


def test_collections_stay_for_kept_snapshots_only(data_dir: DataDir, server: MilvusServer) -> None:
    made = [reindex(data_dir, full=True, keep=2, milvus=server) for _ in range(4)]
    assert server.collections() == sorted(map(collection_of, made[-2:]))


def test_what_services_search_in_stays_until_they_have_moved_over(
    data_dir: DataDir, server: MilvusServer
) -> None:
    made = [collection_of(reindex(data_dir, full=True, keep=1, milvus=server)) for _ in range(3)]
    assert server.collections() == sorted(made[-2:])
    reindex(data_dir, keep=1, milvus=server)
    assert server.collections() == made[-1:]


def test_an_error_of_grpc_is_one_of_the_index(server: MilvusServer) -> None:
    class OutOfTime(grpc.RpcError):
        pass

    with pytest.raises(IndexUnreachable, match="OutOfTime"), server.answering():
        raise OutOfTime


def test_collections_of_others_are_left_alone(data_dir: DataDir, server: MilvusServer) -> None:
    vectors = np.eye(3, dtype=np.float32)
    other = MilvusServer(server.uri, prefix="museum")
    vars(other)["client"] = server.client  # Milvus Lite's file is open once
    theirs = MilvusIndex.build(other, vectors)
    reindex(data_dir, milvus=server)
    assert other.collections() == [theirs.collection]


def test_a_reindex_back_to_faiss_needs_no_server(data_dir: DataDir, server: MilvusServer) -> None:
    reindex(data_dir, milvus=server)
    assert QueryEngine.open(reindex(data_dir)).num_images == 72


def test_a_snapshot_in_milvus_says_that_it_needs_the_server(data_dir: DataDir, server: MilvusServer) -> None:
    snapshot = reindex(data_dir, milvus=server)
    with pytest.raises(BadInput, match=r"milvus_uri|searched in Milvus"):
        QueryEngine.open(snapshot)


def test_another_server_is_told_by_what_it_lacks(
    data_dir: DataDir, server: MilvusServer, tmp_path: Path
) -> None:
    snapshot = reindex(data_dir, milvus=server)
    other = MilvusServer(str(tmp_path / "other.db"))
    with pytest.raises(IndexUnreachable, match=collection_of(snapshot)):
        QueryEngine.open(snapshot, milvus=other)
    other.close()


def test_a_reindex_fills_a_server_that_was_wiped_or_is_another(
    data_dir: DataDir, server: MilvusServer, tmp_path: Path
) -> None:
    before = reindex(data_dir, milvus=server)
    assert reindex(data_dir, milvus=server).version == before.version
    other = MilvusServer(str(tmp_path / "other.db"), prefix=server.prefix)
    moved = reindex(data_dir, milvus=other)
    assert moved.version > before.version
    assert other.published() == collection_of(moved)
    assert QueryEngine.open(moved, milvus=other).num_images == 72
    other.client.drop_alias(other.prefix)
    other.client.drop_collection(collection_of(moved))
    healed = reindex(data_dir, milvus=other)
    assert other.published() == collection_of(healed) != collection_of(moved)
    other.close()


def test_a_server_that_is_not_there_is_named() -> None:
    server = MilvusServer("http://127.0.0.1:9", timeout=0.5)
    with pytest.raises(IndexUnreachable, match=r"http://127\.0\.0\.1:9"):
        server.collections()


def test_a_file_about_other_vectors_is_refused(server: MilvusServer, tmp_path: Path) -> None:
    index = MilvusIndex.build(server, np.eye(3, dtype=np.float32))
    index.save(tmp_path / "milvus.json")
    with pytest.raises(CorruptFile, match=r"\[3, 3\]"):
        MilvusIndex.open(tmp_path / "milvus.json", server, np.eye(4, dtype=np.float32))


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(MilvusServer("http://milvus:19530", token="root:secret"))


@pytest.mark.parametrize("prefix", ["", "1shop", "my-shop", "shöp"])
def test_a_prefix_that_milvus_does_not_take_is_refused(prefix: str) -> None:
    with pytest.raises(BadInput, match="cannot begin"):
        MilvusServer("http://milvus:19530", prefix=prefix)


@pytest.fixture
def shapes_in_milvus(built_data_dir: DataDir, tmp_path: Path) -> tuple[Path, str]:
    """The drawn catalogue, indexed in a Milvus of its own, and where that is."""
    copy_of(built_data_dir.root, tmp_path / "data")
    server = MilvusServer(str(tmp_path / "milvus.db"))
    reindex(DataDir(tmp_path / "data"), milvus=server)
    server.close()
    return tmp_path / "data", server.uri


def test_the_service_answers_from_milvus_and_finds_what_came_since(
    shapes_in_milvus: tuple[Path, str],
) -> None:
    data, uri = shapes_in_milvus
    with serving(data, milvus_uri=uri) as client:
        asked = {"tags": ["red"], "limit": 5, "filter": {"must": [{"key": "tags", "match": "circle"}]}}
        hits = client.post("/v1/search", json=asked).json()["hits"]
        assert len(hits) == 5 and all("circle" in str(hit["tags"]) for hit in hits)
        gone = hits[0]["id"]
        assert client.delete(f"/v1/images/{gone}").is_success
        left = [hit["id"] for hit in client.post("/v1/search", json=asked).json()["hits"]]
        assert gone not in left and len(left) == 5


def test_a_search_never_makes_the_event_loop_wait_for_milvus(
    shapes_in_milvus: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, uri = shapes_in_milvus
    searched_in: list[str] = []
    search = MilvusIndex.search

    def noted(index: MilvusIndex, *asked: Any) -> SearchResult:
        searched_in.append(threading.current_thread().name)
        return search(index, *asked)

    monkeypatch.setattr(MilvusIndex, "search", noted)
    with serving(data, milvus_uri=uri) as client:
        for _ in range(5):  # a quick index is searched on the event loop from the second question on
            assert client.post("/v1/search", json={"image": {"id": "small-red-circle-0"}}).is_success
    assert len(searched_in) == 5
    assert all(name.startswith("search") for name in searched_in)


def test_a_search_is_refused_when_milvus_does_not_answer(shapes_in_milvus: tuple[Path, str]) -> None:
    data, uri = shapes_in_milvus
    with serving(data, milvus_uri=uri) as client:
        index = service_of(client).states.current.engine._index.index
        assert isinstance(index, MilvusIndex)
        index.drop()
        problem(client.post("/v1/search", json={"tags": ["red"]}), 503, "index-unreachable")
        assert client.get("/v1/images/small-red-circle-0").status_code == 200


@pytest.mark.parametrize("older", [False, True], ids=["nothing", "an older snapshot"])
def test_a_service_that_started_before_milvus_serves_when_it_is_there(
    shapes_in_milvus: tuple[Path, str], older: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, uri = shapes_in_milvus
    newest = (data / "CURRENT").read_text(encoding="utf-8").strip()
    if not older:
        for version in {path.name for path in (data / "snapshots").iterdir()} - {newest}:
            shutil.rmtree(data / "snapshots" / version)
    up = threading.Event()
    opened = MilvusIndex.open

    def when_up(*given: Any) -> MilvusIndex:
        if not up.is_set():
            raise IndexUnreachable("Milvus does not answer")
        return opened(*given)

    monkeypatch.setattr(MilvusIndex, "open", when_up)
    monkeypatch.setattr("app.serving_state._AGAIN_AFTER_SECONDS", 0.2)
    with serving(data, milvus_uri=uri) as client:

        def searched() -> Any:
            return client.post("/v1/search", json={"tags": ["red"]})

        if older:
            assert searched().json()["index_version"] != newest
            assert client.get("/readyz").json()["status"] == "degraded"
        else:
            problem(searched(), 503, "nothing-to-serve")
        up.set()
        wait_until(lambda: searched().json().get("index_version") == newest)


def test_the_command_line_searches_in_milvus_too(
    shapes_in_milvus: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, uri = shapes_in_milvus
    monkeypatch.setenv("IMSAGE_MILVUS_URI", uri)
    assert run(["search", "--data", str(data), "--tag", "red", "-k", "3"]) == 0
    assert capsys.readouterr().out.count("red") >= 3
