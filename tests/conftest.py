"""Fixtures that several folders of tests use: the drawn catalogue, ingested and built through the real code.

The session fixtures are made once and shared by all pytest-xdist workers (a file lock decides who makes
them). They are for reading: a test that changes a data directory takes `ingested_copy` or `built_copy`.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Two test workers on two cores: more threads in each would only make them wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A job that stepped back behind both of them would be waited for until they have nothing else to do.
os.environ.setdefault("IMSAGE_JOB_NICE", "0")

import pytest
from hypothesis import settings

from tests.copies import copy_of
from tests.shapes import write_shapes

if TYPE_CHECKING:
    from graph_store.data_dir import DataDir

# The machine that runs the tests may be busy: a slow example is no failure. CI draws the same examples.
settings.register_profile("imsage", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("imsage")

BUILT_EPOCHS = 3

# Workers take whole files, in this order and then by name: a file that takes a minute and comes last would be
# waited for by all the others. The first two need no shared catalogue, so that nobody waits for its making.
LONGEST = (
    "gnn/test_quality.py",
    "gnn/test_changed_reindex.py",
    "gnn/test_disambiguation.py",
    "hashing/test_training.py",
    "jobs/test_priority.py",
    "jobs/test_jobs_api.py",
    "jobs/test_killed_server.py",
    "jobs/test_canceled_reindex.py",
    "gnn/test_parallel.py",
    "docs/test_api_page_runs.py",
    "chaos/test_exhaustion.py",
    "chaos/test_live_machine.py",
    "chaos/test_kills_and_swaps.py",
    "replica/test_serving.py",
    "jobs/test_index_age.py",
    "api/test_corruption.py",
    "evaluation/test_evaluate.py",
    "engines/test_ray.py",
    "engines/test_conformance.py",
    "cli/test_evaluate.py",
    "cli/test_ingest.py",
    "demo/test_build.py",
    "client/test_jobs.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; within a file nothing changes its place."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the whole test run, the same in every xdist worker; IMSAGE_TEST_SHARED names one that is
    common to runs that test the same code.
    """
    if "IMSAGE_TEST_SHARED" in os.environ:
        return Path(os.environ["IMSAGE_TEST_SHARED"])
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def make_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Calls `make(folder)` in the first worker that comes; the others wait and take what it made."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder.with_suffix(".done")
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def shapes_source(shared_dir: Path) -> Path:
    """tags.jsonl of the drawn catalogue (tests/shapes.py), with images/ beside it. Read only."""
    folder = make_once(shared_dir / "shapes", write_shapes)
    return folder / "tags.jsonl"


@pytest.fixture(scope="session")
def ingested_data_dir(shared_dir: Path, shapes_source: Path) -> DataDir:
    """The drawn catalogue after `imsage ingest`: catalogue, features and thumbnails. Read only."""
    from app.ingest.pipeline import ingest
    from graph_store.data_dir import DataDir
    from graph_store.progress import SilentProgress

    def make(folder: Path) -> None:
        ingest(shapes_source, DataDir(folder), progress=SilentProgress())

    return DataDir(make_once(shared_dir / "ingested", make))


@pytest.fixture(scope="session")
def built_data_dir(shared_dir: Path, ingested_data_dir: DataDir) -> DataDir:
    """The drawn catalogue, trained for a few epochs and indexed: ready to search and serve. Read only."""
    from gnn.reindex import reindex
    from gnn.training import train
    from graph_store.data_dir import DataDir
    from graph_store.progress import SilentProgress

    def make(folder: Path) -> None:
        copy_of(ingested_data_dir.root, folder)
        data_dir = DataDir(folder)
        train(data_dir, epochs=BUILT_EPOCHS, progress=SilentProgress())
        reindex(data_dir, progress=SilentProgress())

    return DataDir(make_once(shared_dir / "built", make))


@pytest.fixture(scope="module")
def kept_text_encoder() -> Iterator[None]:
    """Trainings and reindexes of a module read the names of tags with one text encoder. Each would load the
    same anew, which takes half a second, longer than the rest of most.
    """
    from gnn import graph_data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_data, "text_encoder", functools.cache(graph_data.text_encoder))
        yield


@pytest.fixture
def ingested_copy(ingested_data_dir: DataDir, tmp_path: Path) -> DataDir:
    """A copy of `ingested_data_dir` that the test may change."""
    return _copy(ingested_data_dir, tmp_path / "ingested-copy")


@pytest.fixture
def built_copy(built_data_dir: DataDir, tmp_path: Path) -> DataDir:
    """A copy of `built_data_dir` that the test may change."""
    return _copy(built_data_dir, tmp_path / "built-copy")


def _copy(data_dir: DataDir, folder: Path) -> DataDir:
    from graph_store.data_dir import DataDir

    copy_of(data_dir.root, folder)
    return DataDir(folder)
