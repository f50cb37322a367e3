"""Ingestion through Ray Data leaves what a local one leaves, also when workers or the command itself die."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from app.ingest.blobs import thumbnail_path
from app.ingest.engines import ray_engine
from app.ingest.engines.engine import Featured, LocalIngest, Outcome, Picture, Recipe
from app.ingest.engines.ray_engine import PictureWorker, RayIngest
from app.ingest.features import feature_maker
from app.ingest.items import SourceItem
from app.ingest.pipeline import IngestReport, ingest
from gnn.encoders.base import EncoderSpec
from gnn.encoders.registry import DEFAULT_IMAGE_ENCODER
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile, EncoderMismatch, UnknownName, Unwritable
from graph_store.progress import Advance
from graph_store.records import ImageRecord, Skip
from tests.ingest.conftest import write_rows
from tests.ingest.test_pipeline import stored_features

# Ray Data sets options of its own that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")

NUM = 80
COLOURS = np.random.default_rng(0).integers(0, 256, (NUM, 2, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, one of them twice under two names, and what is none, between them in every way."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, colours in enumerate(COLOURS):
        shelf = folder / f"shelf {number % 3}"
        shelf.mkdir(exist_ok=True)
        Image.fromarray(np.repeat(colours, 200, axis=0).reshape(20, 20, 3)).save(shelf / f"{number:02}.png")
    (folder / "again.png").write_bytes((folder / "shelf 0" / "00.png").read_bytes())
    (folder / "shelf 0" / "07 cut.png").write_bytes((folder / "shelf 0" / "00.png").read_bytes()[:60])
    (folder / "shelf 1" / "00 empty.jpg").touch()
    (folder / "shelf 2" / "99 text.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def local(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DataDir, IngestReport]:
    data_dir = DataDir(tmp_path_factory.mktemp("local") / "data")
    return data_dir, ingest(folder, data_dir)


def stored(data_dir: DataDir) -> dict[str, ImageRecord]:
    with Catalog.open(data_dir.catalog_path) as catalog:
        return {record.id: record for record in catalog.records()}


def thumbnails(data_dir: DataDir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data_dir.blobs_dir.rglob("*.webp")}


def assert_as_local(data_dir: DataDir, local: DataDir) -> None:
    assert stored(data_dir) == stored(local)
    found, expected = stored_features(data_dir), stored_features(local)
    assert all(abs(found[name] - expected[name]).max() < 1e-5 for name in expected)
    assert thumbnails(data_dir) == thumbnails(local)
    assert not list(data_dir.blobs_dir.rglob("*.tmp"))


class At:
    """A Progress that does something once, when so many pictures have come."""

    def __init__(self, count: int) -> None:
        self.left = count

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        def advance(done: int) -> None:
            self.left -= done
            if self.left == 0:
                self.do()

        yield advance

    def do(self) -> None:
        raise NotImplementedError


def workers() -> list[psutil.Process]:
    """Processes that hold an encoder."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if " ".join(process.cmdline()).startswith("ray::MapWorker")
    ]


class KillWorkers(At):
    killed = 0

    def do(self) -> None:
        for process in workers():
            os.kill(process.pid, signal.SIGKILL)
            self.killed += 1


class Interrupt(At):
    def do(self) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_and_killed_workers_cost_nothing(
    cluster: None, folder: Path, local: tuple[DataDir, IngestReport], tmp_path: Path
) -> None:
    data_dir = DataDir(tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        ingest(folder, data_dir, engine=RayIngest(), progress=Interrupt(30), batch_size=1)
    kept = len(stored(data_dir))
    assert 0 < kept < 30
    small = [thumbnail_path(data_dir, record.sha256 or "") for record in stored(data_dir).values()]
    made = [path.stat().st_mtime_ns for path in small]

    killer = KillWorkers(kept + 3)
    report = ingest(folder, data_dir, engine=RayIngest(part=1), progress=killer)
    assert killer.killed
    assert (report.seen, report.unchanged, report.stored) == (NUM + 4, kept, NUM + 1 - kept)
    assert len(report.skipped) == 3
    assert report.skipped == local[1].skipped
    assert [path.stat().st_mtime_ns for path in small] == made
    assert_as_local(data_dir, local[0])


def test_many_pictures_go_to_ray_in_waves(
    folder: Path, local: tuple[DataDir, IngestReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves: list[int] = []

    class InThisProcess(RayIngest):
        def _made(
            self, ray: Any, pictures: Sequence[Picture], recipe: Recipe, spec: EncoderSpec
        ) -> Generator[Outcome, None, None]:
            waves.append(len(pictures))
            yield from LocalIngest().outcomes(pictures, recipe, feature_maker(recipe.encoder, None, "cpu"))

    monkeypatch.setattr(ray_engine, "ray_cluster", lambda: nullcontext(sys))
    monkeypatch.setattr(ray_engine, "_with_data", lambda ray: ray)
    data_dir = DataDir(tmp_path / "data")
    assert ingest(folder, data_dir, engine=InThisProcess(wave=NUM // 2)) == local[1]
    assert waves == [NUM // 2, NUM // 2, 4]
    assert_as_local(data_dir, local[0])


def test_what_is_known_already_needs_no_cluster(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    source = tmp_path / "tags.jsonl"
    row = {"image": str(folder / "again.png"), "id": "a", "tags": ["one"]}
    write_rows(source, [row])
    data_dir = DataDir(tmp_path / "data")
    ingest(source, data_dir)
    assert ingest(source, data_dir, engine=RayIngest()).unchanged == 1
    write_rows(source, [row | {"tags": ["two"]}, {"image": 3}])
    report = ingest(source, data_dir, engine=RayIngest(wave=1))
    assert (report.seen, report.stored, len(report.skipped)) == (2, 1, 1)
    assert [tag.name for tag in stored(data_dir)["a"].tags] == ["two"]


def test_a_missing_package_is_said_with_the_way_to_get_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"pip install -e \"\.\[ray\]\""):
        ingest(folder, DataDir(tmp_path / "data"), engine=RayIngest())


def test_ray_without_ray_data_is_said_with_the_way_to_get_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "ray_cluster", lambda: nullcontext(sys))
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(BadInput, match=r"Ray Data cannot be loaded: .*pip install -e \"\.\[ray\]\""):
        ingest(folder, DataDir(tmp_path / "data"), engine=RayIngest())


def test_a_gpu_that_no_node_has_is_not_waited_for(cluster: None, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no node of the Ray cluster has a GPU"):
        ingest(folder, DataDir(tmp_path / "data"), engine=RayIngest(), device="cuda")


def test_a_certain_gpu_cannot_be_asked_for(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'cuda:1'"):
        ingest(folder, DataDir(tmp_path / "data"), engine=RayIngest(), device="cuda:1")


# -- a worker, without a cluster -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spec() -> EncoderSpec:
    return feature_maker(DEFAULT_IMAGE_ENCODER, None, "cpu").spec


def told(recipe: Recipe, spec: EncoderSpec, paths: list[Path]) -> list[Any]:
    """What a worker sends back of some pictures."""
    work = [Picture(SourceItem(path.name, path, "source"), "mark", None) for path in paths]
    return list(PictureWorker(recipe, spec, 1)({"picture": np.array(work, dtype=object)})["outcome"])


def recipe_for(folder: Path) -> Recipe:
    return Recipe(DataDir(folder), DEFAULT_IMAGE_ENCODER, None, "cpu", False, 32)


def test_a_worker_sends_features_and_reasons(folder: Path, tmp_path: Path, spec: EncoderSpec) -> None:
    good, bad = told(recipe_for(tmp_path), spec, [folder / "again.png", folder / "shelf 2" / "99 text.jpg"])
    assert isinstance(good, Featured) and good.feature is not None
    assert good.feature.shape == (1280,)
    assert isinstance(bad, Skip) and bad.item == "99 text.jpg"


def test_a_worker_hands_on_what_was_brought_along(folder: Path, tmp_path: Path) -> None:
    brought = EncoderSpec("precomputed", "", 2, "")
    recipe = replace(recipe_for(tmp_path), features=tmp_path / "on another machine.npy")
    item = SourceItem("a", folder / "again.png", "source")
    work = Picture(item, "mark", np.array([0.6, 0.8], np.float32))
    (sent,) = PictureWorker(recipe, brought, 1)({"picture": np.array([work], dtype=object)})["outcome"]
    np.testing.assert_array_equal(sent.feature, np.array([0.6, 0.8], np.float32))
    assert len(thumbnails(recipe.data_dir)) == 1


def test_a_worker_started_in_another_directory_loads_the_encoder_that_the_command_has_found(
    folder: Path, tmp_path: Path, spec: EncoderSpec
) -> None:
    as_written = replace(recipe_for(tmp_path), encoder="open_clip:ViT-B-32@only-there.pt")
    (sent,) = told(as_written, spec, [folder / "again.png"])
    assert isinstance(sent, Featured)


def test_a_worker_with_other_weights_says_so(folder: Path, tmp_path: Path, spec: EncoderSpec) -> None:
    (error,) = told(recipe_for(tmp_path), replace(spec, weights_sha256="0" * 64), [folder / "again.png"])
    assert isinstance(error, EncoderMismatch)


def test_a_worker_that_cannot_write_says_so(folder: Path, tmp_path: Path, spec: EncoderSpec) -> None:
    (tmp_path / "blobs").write_text("a file where a folder should be")
    (error,) = told(recipe_for(tmp_path), spec, [folder / "again.png"])
    assert isinstance(error, Unwritable)
    assert str(tmp_path / "blobs") in str(error)


def test_an_error_with_a_path_is_the_same_in_another_process() -> None:
    error = pickle.loads(pickle.dumps(CorruptFile("torn", path=Path("/a"), hint="Make it anew.")))
    assert (str(error), error.path) == ("torn. Make it anew.", Path("/a"))
