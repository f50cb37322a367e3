"""A pickle runs code when it is loaded. Nothing here loads one, and one that is slipped in is refused."""

from __future__ import annotations

import ast
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.cli import run
from app.cli.errors import FAILURE
from gnn.checkpoint import load_checkpoint
from gnn.encoders.precomputed import Precomputed
from gnn.query import QueryEngine
from gnn.trained_model import MODEL, load_trained_model
from graph_store.array_files import load_array
from graph_store.binary_index import BinaryIndex
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, CorruptFile, ImsageError
from graph_store.faiss_index import FaissIndex
from graph_store.ivfpq_index import IvfPqIndex
from graph_store.snapshot import Snapshot

ROOT = Path(__file__).parents[2]
PACKAGES = ("app", "gnn", "graph_store", "imsage", "benchmarks", "docs")
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
CALLS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"torch.jit.load", "torch.package.PackageImporter", "yaml.load", "pandas.read_pickle", "torch.save"}


def complaints(source: str) -> Iterator[str]:
    """What in this source could load a pickle or run a string."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield node.module or ""
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if given.get("allow_pickle") == "True" or given.get("weights_only") == "False":
                yield ast.unparse(node)
            elif name in CALLS | LOADERS:
                yield name
            elif name == "torch.load" and given.get("weights_only") != "True":
                yield "torch.load without weights_only=True"
            elif name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
                yield f"{name} without allow_pickle=False"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_source_can_load_a_pickle(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = [f"{file}: {what}" for file in files for what in complaints(file.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    import dill as harmless",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "torch.jit.load(path)",
        "eval(text)",
    ],
)
def test_the_walk_would_notice(source: str) -> None:
    assert list(complaints(source))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self._mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """What must not be there after the test: code of the file has run then."""
    mark = tmp_path / "pwned"
    yield mark
    assert not mark.exists()


@pytest.fixture
def trap(mark: Path) -> Callable[[Path], Path]:
    """Puts the pickle into a file, inside an array where it is to be one."""

    def put(file: Path) -> Path:
        if file.suffix == ".npy":
            np.save(file, np.array([Trap(mark)], dtype=object), allow_pickle=True)
        else:
            file.write_bytes(pickle.dumps(Trap(mark)))
        return file

    return put


def test_the_trap_works(tmp_path: Path) -> None:
    mark = tmp_path / "sprung"
    pickle.loads(pickle.dumps(Trap(mark)))
    assert mark.exists()


def test_a_model_file_that_is_a_pickle_is_refused(trap: Callable[[Path], Path], tmp_path: Path) -> None:
    file = trap(tmp_path / MODEL)
    for load in (lambda: load_trained_model(tmp_path), lambda: load_checkpoint(file)):
        with pytest.raises(CorruptFile, match=MODEL):
            load()


def test_features_that_are_a_pickle_are_refused(trap: Callable[[Path], Path], tmp_path: Path) -> None:
    file = trap(tmp_path / "features.npy")
    (tmp_path / "features.ids.txt").write_text("a\n")
    with pytest.raises(BadInput, match=r"features\.npy"):
        Precomputed.load(file)
    file.write_bytes(pickle.dumps([1.0]))
    with pytest.raises(BadInput, match=r"features\.npy"):
        Precomputed.load(file)


def test_an_array_that_is_a_pickle_is_refused(trap: Callable[[Path], Path], tmp_path: Path) -> None:
    file = trap(tmp_path / "embeddings.npy")
    for mapped in (True, False):
        with pytest.raises(CorruptFile, match=r"embeddings\.npy"):
            load_array(file, mmap=mapped)


def test_an_index_that_is_a_pickle_is_refused(trap: Callable[[Path], Path], tmp_path: Path) -> None:
    file = trap(tmp_path / "index.faiss")
    for opened in (FaissIndex.open, BinaryIndex.open, lambda path: IvfPqIndex.open(path, np.ones((1, 4)))):
        with pytest.raises(CorruptFile, match=r"index\.faiss"):
            opened(file)


def test_a_snapshot_whose_files_are_all_pickles_is_refused_at_every_door(
    trap: Callable[[Path], Path], built_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = Snapshot.open(built_copy).directory
    for file in [*directory.rglob("*.*"), *built_copy.models_dir.rglob("*.*")]:
        if file.is_file() and file.name != "manifest.json":
            trap(file)
    with pytest.raises(CorruptFile):
        Snapshot.open(built_copy)
    with pytest.raises(ImsageError):
        QueryEngine.open(Snapshot.open(built_copy, verify=False), None)
    for command in (["search", "--tag", "red"], ["verify"], ["reindex"]):
        assert run([*command, "--data", str(built_copy.root)]) == FAILURE, command
    assert "fault in imsage" not in capsys.readouterr().err
