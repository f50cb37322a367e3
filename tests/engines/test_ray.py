"""What only a cluster can suffer: workers that die, parts that fail, a package that is not there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import pytest

from gnn.engines.errors import EngineFailed
from gnn.engines.parts import image_parts, tag_parts
from gnn.engines.ray_engine import RayEngine
from gnn.reindex import reindex
from gnn.training import train
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from graph_store.progress import Advance
from graph_store.snapshot import Snapshot
from tests.gnn.worlds import drawn_features, drawn_records, drawn_tags, write_catalogue

NUM = 200


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    chosen = drawn_tags(NUM)
    data_dir = write_catalogue(
        tmp_path_factory.mktemp("built"), drawn_records(chosen), drawn_features(chosen)
    )
    train(data_dir, epochs=1)
    reindex(data_dir)
    return data_dir


class During:
    """A Progress that does something when so many rows have been embedded."""

    def __init__(self, rows: int) -> None:
        self.left = rows

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        def advance(done: int) -> None:
            if name == "embed" and self.left > 0:
                self.left -= done
                if self.left <= 0:
                    self.do()

        yield advance

    def do(self) -> None:
        raise NotImplementedError


class KillWorkers(During):
    """Kills all processes that compute parts, while most parts of the layer are still to come."""

    killed = 0

    def do(self) -> None:
        for process in psutil.Process().children(recursive=True):
            if " ".join(process.cmdline()).startswith(("ray::compute", "ray::IDLE")):
                os.kill(process.pid, signal.SIGKILL)
                self.killed += 1


def test_a_reindex_survives_killed_workers(cluster: None, built: DataDir) -> None:
    wanted = Snapshot.open(built)
    killer = KillWorkers(NUM // 2)
    made = reindex(built, full=True, engine=RayEngine(rows=1), progress=killer)
    assert killer.killed
    assert made.version > wanted.version
    for name in ("embeddings", "states/image_1", "states/tag_1", "tag_embeddings"):
        np.testing.assert_allclose(made.array(name), wanted.array(name), atol=1e-5)


def test_a_part_that_cannot_be_computed_ends_the_reindex_and_changes_nothing(
    cluster: None, built: DataDir
) -> None:
    class LoseLayer(During):
        def do(self) -> None:
            for states in built.snapshots_dir.glob(".tmp-*-scratch/*/tag_0.npy"):
                states.unlink()

    before = Snapshot.open(built).version
    with pytest.raises(EngineFailed, match=r"Ray could not compute .*tag_0\.npy is missing"):
        reindex(built, full=True, engine=RayEngine(rows=50), progress=LoseLayer(NUM))
    assert Snapshot.open(built).version == before
    assert not list(built.snapshots_dir.glob(".tmp-*"))


def test_a_missing_package_is_said_with_the_way_to_get_it(
    built: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"pip install -e \"\.\[ray\]\""):
        reindex(built, full=True, engine=RayEngine())


def test_image_parts_cover_every_row_once() -> None:
    rows = [row for part in image_parts("images", 1, 25, 10) for row in range(part.start, part.stop)]
    assert rows == list(range(25))


def test_tag_parts_hold_so_many_edges_or_one_tag() -> None:
    degrees = np.array([3, 0, 4, 20, 1, 1, 0])
    edges = Csr.from_rows(degrees, np.zeros(29), np.ones(29))
    parts = [(part.start, part.stop) for part in tag_parts(1, edges, 8)]
    assert parts == [(0, 3), (3, 4), (4, 7)]
