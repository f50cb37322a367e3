"""A service over a compressed index answers as one over links, whatever is asked and has been written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.cli import run
from app.cli.errors import FAILURE
from app.jobs.work import do_work
from app.serving_state import ServingStates
from app.settings import Settings
from gnn.graph_index import COMPRESSED, open_index
from gnn.reindex import reindex
from graph_store import faiss_index, ivfpq_index
from graph_store.data_dir import DataDir
from graph_store.durable import write_bytes
from graph_store.index_choice import IndexPolicy
from graph_store.ivfpq_index import IvfPqIndex
from graph_store.progress import SilentProgress
from graph_store.snapshot import Snapshot, verify_all
from tests.api.conftest import service_of, serving
from tests.api.test_corruption import damaged_forms, replaced
from tests.chaos.test_live_machine import BASE_IDS, trained_world
from tests.copies import copy_of
from tests.gnn.worlds import TAGS
from tests.hashing.test_pages import ids, read

ONLY_RED = {"filter": {"must": [{"key": "colour", "match": "red"}]}}


@pytest.fixture(autouse=True)
def as_in_a_large_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes and links are walked, also for filters and removed pictures, though there are 160 pictures."""
    for module in (faiss_index, ivfpq_index):
        monkeypatch.setattr(module, "SCAN_ALLOWED_UP_TO", 8)
    monkeypatch.setattr(ivfpq_index, "LEAST_RANKED", 60)


def indexed_as(kind: Any, shared_dir: Path, folder: Path) -> Path:
    copy_of(trained_world(shared_dir, "default"), folder)
    reindex(DataDir(folder), full=True, policy=IndexPolicy(kind))
    return folder


@pytest.fixture(scope="module")
def made(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("both")
    for kind in ("ivfpq", "hnsw"):
        indexed_as(kind, shared_dir, folder / kind)
    return folder


@pytest.fixture
def both(made: Path, tmp_path: Path) -> Iterator[tuple[TestClient, TestClient]]:
    """The same catalogue, compressed and walked by links."""
    shutil.copytree(made, tmp_path / "both")
    with (
        serving(tmp_path / "both" / "ivfpq", snapshot_poll_seconds=3600) as compressed,
        serving(tmp_path / "both" / "hnsw", snapshot_poll_seconds=3600) as linked,
    ):
        assert service_of(compressed).states.current.engine._index.index.kind == "ivfpq"
        assert service_of(linked).states.current.engine._index.index.kind == "hnsw"
        yield compressed, linked


def assert_alike(clients: tuple[TestClient, TestClient], **body: Any) -> None:
    """Both find the same, but for one in twenty, and give what both find the same scores."""
    ours, theirs = (
        {hit["id"]: hit for hit in client.post("/v1/search", json=body).json()["hits"]} for client in clients
    )
    shared = ours.keys() & theirs.keys()
    assert len(ours) == len(theirs) and len(shared) >= 0.95 * len(theirs) > 0
    for name in shared:
        for part in ("score", "visual", "conceptual"):
            assert ours[name][part] == pytest.approx(theirs[name][part], abs=2e-5)


@pytest.mark.parametrize("dial", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("chosen", [{}, ONLY_RED], ids=["all", "filtered"])
def test_scores_are_those_of_an_index_of_links(
    both: tuple[TestClient, TestClient], dial: float, chosen: Any
) -> None:
    assert_alike(both, tags=[TAGS[0]], limit=20, visual_weight=dial, **chosen)
    assert_alike(both, image={"id": BASE_IDS[3]}, limit=20, visual_weight=dial, **chosen)


def test_scores_stay_alike_when_pictures_were_changed_and_removed(
    both: tuple[TestClient, TestClient],
) -> None:
    for client in both:
        gone = client.post("/v1/images/delete", json={"ids": BASE_IDS[10:40]})
        changed = client.patch(f"/v1/images/{BASE_IDS[0]}", json={"tags": [TAGS[0], "crimson"]})
        assert gone.is_success and changed.is_success
        all_left = client.post("/v1/search", json={"tags": [TAGS[0]], "limit": 1000}).json()["hits"]
        assert sorted(hit["id"] for hit in all_left) == sorted(BASE_IDS[:10] + BASE_IDS[40:])
    assert_alike(both, tags=[TAGS[0]], limit=20)
    assert_alike(both, tags=[TAGS[0]], limit=20, **ONLY_RED)


@pytest.mark.parametrize("chosen", [{}, ONLY_RED], ids=["all", "filtered"])
def test_all_pages_show_every_picture_once(both: tuple[TestClient, TestClient], chosen: Any) -> None:
    ours, theirs = (sorted(ids(read(each, tags=[TAGS[0]], limit=7, **chosen))) for each in both)
    assert ours == theirs and len(ours) == len(set(ours))
    assert ours == sorted(BASE_IDS) or (chosen and len(ours) > 40)


def test_what_is_served_says_which_index_it_is_and_why(both: tuple[TestClient, TestClient]) -> None:
    for client, kind in zip(both, ("ivfpq", "hnsw"), strict=True):
        assert client.get("/v1/index").json()["parameters"]["index"] == {
            "kind": kind,
            "reason": f"The setting index asks for {kind}.",
        }


def test_the_vectors_are_not_in_the_file_but_are_those_of_the_snapshot(made: Path) -> None:
    snapshot = Snapshot.open(DataDir(made / "ivfpq"))
    index = open_index(snapshot).index
    assert isinstance(index, IvfPqIndex) and isinstance(index._vectors.base, np.memmap)
    assert "index.faiss" not in snapshot.manifest["files"]


def test_a_reindex_follows_the_settings(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(built_copy.root)]
    before = Snapshot.open(built_copy)
    monkeypatch.setenv("IMSAGE_INDEX", "ivfpq")
    assert run(["reindex", *data]) == 0
    made = Snapshot.open(built_copy)
    assert made.version != before.version and COMPRESSED in made.manifest["files"]
    assert made.manifest["parameters"]["embedded_anew"] == 0
    capsys.readouterr()
    assert run(["info", *data]) == 0
    assert "The setting index asks for ivfpq." in " ".join(capsys.readouterr().out.split())
    assert run(["reindex", *data]) == 0
    assert Snapshot.open(built_copy).version == made.version
    monkeypatch.delenv("IMSAGE_INDEX")
    monkeypatch.setenv("IMSAGE_INDEX_MEMORY", "1")
    assert run(["reindex", *data]) == 0
    told = Snapshot.open(built_copy).manifest["parameters"]["index"]
    assert told["kind"] == "flat" and told["reason"].endswith("so all are compared.")


def test_a_job_follows_the_settings(built_copy: DataDir) -> None:
    chosen = Settings(data=built_copy.root, index="hnsw")
    before = Snapshot.open(built_copy).version
    done = do_work("reindex", {"preset": None, "full": False}, chosen, SilentProgress())
    made = Snapshot.open(built_copy)
    assert done["index_version"] == made.version != before
    assert made.manifest["parameters"]["index"]["kind"] == "hnsw"


def test_a_damaged_compressed_index_is_refused_by_name_and_a_reindex_heals_it(
    made: Path, tmp_path: Path
) -> None:
    shutil.copytree(made / "ivfpq", tmp_path / "data")
    folder = DataDir(tmp_path / "data")
    good = Snapshot.open(folder)
    reindex(folder, full=True, policy=IndexPolicy("ivfpq"))
    path = Snapshot.open(folder).path(COMPRESSED)
    whole, newest = path.read_bytes(), folder.current_path.read_bytes()
    for how, data in damaged_forms(whole):
        replaced(path, data)
        starting = ServingStates(folder, lambda _: None)
        starting.refresh()
        assert starting.current.version == good.version, how
        assert COMPRESSED in starting.problem, how
        assert [found.path.name for found in verify_all(folder)] == [COMPRESSED], how
        write_bytes(folder.current_path, newest)
    reindex(folder, policy=IndexPolicy("ivfpq"))
    assert verify_all(folder) == []
    assert run(["verify", "--data", str(folder.root)]) != FAILURE
