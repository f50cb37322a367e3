"""What is measured beside HNSW refuses a catalogue that has none, in one line and before the work."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.bare_index import BareIndex
from benchmarks.load import rivals
from gnn.reindex import reindex
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from graph_store.index_choice import FLAT_BELOW, IndexPolicy
from graph_store.snapshot import Snapshot


@pytest.fixture
def latency_by_id(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # It says so itself when it is imported, and that must not stay for other tests.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return importlib.import_module("benchmarks.latency_by_id")


def test_a_snapshot_without_links_is_refused_by_the_kind_that_it_has(built_data_dir: DataDir) -> None:
    with pytest.raises(BadInput, match="'flat'"):
        BareIndex(Snapshot.open(built_data_dir))


def test_a_snapshot_with_links_is_read(built_copy: DataDir) -> None:
    bare = BareIndex(reindex(built_copy, policy=IndexPolicy("hnsw")))
    scores, _ = bare.index.search(bare.vectors[:1], 1)
    assert scores[0, 0] == pytest.approx(float((bare.vectors @ bare.vectors[0]).max()))


def test_too_few_images_are_refused_before_they_are_generated(
    latency_by_id: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    with pytest.raises(SystemExit):
        latency_by_id.main(["--images", str(FLAT_BELOW - 1), "--data", str(folder)])
    assert "--images must be 20,000 at least" in capsys.readouterr().err
    assert not folder.exists()


def test_latency_by_id_refuses_a_snapshot_that_lies_there_without_links(
    latency_by_id: ModuleType, built_data_dir: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        latency_by_id.main(["--data", str(built_data_dir.root)])
    assert "'flat'" in capsys.readouterr().err


def test_rivals_are_not_installed_for_a_snapshot_without_links(
    built_data_dir: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(SystemExit):
        rivals.main(["--data", str(built_data_dir.root), "--cache", str(cache)])
    assert "'flat'" in capsys.readouterr().err
    assert not cache.exists()
