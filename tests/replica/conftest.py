"""Small snapshots, and stores of several kinds to publish them to."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fastapi.testclient import TestClient
from fsspec.implementations.local import LocalFileSystem

from graph_store.data_dir import DataDir
from graph_store.snapshot import Snapshot, SnapshotWriter
from graph_store.snapshot_store import SnapshotStore
from tests.api.conftest import serving

KINDS = ("file", "memory")
_WRITING = ("put_file", "pipe_file", "mv", "rm")


class Struck(OSError):
    """What a struck write raises."""


class Frail(LocalFileSystem):  # type: ignore[misc]  # fsspec has no annotations
    """A disk on which the so-manyeth change of anything stops in the middle, as a kill would stop it."""

    protocol = "frail"
    strike_at = 0
    changes = 0
    put: list[str] = []  # noqa: RUF012  # one for all instances, on purpose

    @classmethod
    def set_up(cls, strike_at: int = 0) -> None:
        cls.strike_at, cls.changes, cls.put = strike_at, 0, []

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return LocalFileSystem._strip_protocol(str(path).removeprefix("frail://"))

    def _struck(self) -> bool:
        type(self).changes += 1
        return self.changes == self.strike_at

    def put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        if self._struck():
            data = Path(lpath).read_bytes()
            Path(rpath).write_bytes(data[: len(data) // 2])
            raise Struck(f"struck while {rpath} was written")
        self.put.append(rpath)
        super().put_file(lpath, rpath, **kwargs)

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        if self._struck():
            Path(path).write_bytes(value[: len(value) // 2])
            raise Struck(f"struck while {path} was written")
        super().pipe_file(path, value, **kwargs)

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        if self._struck():
            raise Struck(f"struck before {path1} was renamed")
        super().mv(path1, path2, **kwargs)

    def rm(self, path: str, recursive: bool = False, **kwargs: Any) -> None:
        if self._struck():
            first = next(each for each in sorted(Path(path).rglob("*")) if each.is_file())
            first.unlink()
            raise Struck(f"struck while {path} was removed")
        super().rm(path, recursive=recursive, **kwargs)


fsspec.register_implementation("frail", Frail, clobber=True)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SnapshotStore]:
    """An empty store of each kind."""
    name = f"store-{secrets.token_hex(4)}"
    made = SnapshotStore(f"memory://{name}" if request.param == "memory" else f"file://{tmp_path / name}")
    yield made
    if request.param == "memory" and made.files[0].exists(made.files[1]):
        made.files[0].rm(made.files[1], recursive=True)


@pytest.fixture
def frail(tmp_path: Path) -> SnapshotStore:
    """A store on a `Frail` disk that nothing strikes yet."""
    Frail.set_up()
    return SnapshotStore(f"frail://{tmp_path / 'frail store'}")


@pytest.fixture
def writer(tmp_path: Path) -> DataDir:
    """The data directory that is published from."""
    made = DataDir(tmp_path / "writer")
    made.create()
    return made


@pytest.fixture
def replica(tmp_path: Path) -> DataDir:
    """The empty data directory of a replica."""
    return DataDir(tmp_path / "replica")


@pytest.fixture
def commit(writer: DataDir) -> Callable[[], Snapshot]:
    """Makes one more snapshot of the writer, each with other numbers and the same words."""
    numbers = itertools.count(1)

    def committed() -> Snapshot:
        with writer.lock("test"), SnapshotWriter(writer) as aside:
            number = next(numbers)
            aside.array("states/layer_0", np.full((64, 4), number, dtype=np.float32))
            aside.json("counts", {"number": number})
            aside.json("tags", {"names": ["dog", "cat"]})
            return aside.commit({"counts": {"images": 64}})

    return committed


def contents(data_dir: DataDir) -> dict[str, bytes]:
    """Every file of the current snapshot, by name."""
    snapshot = Snapshot.open(data_dir)
    return {
        path.relative_to(snapshot.directory).as_posix(): path.read_bytes()
        for path in snapshot.directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="session")
def client(built_data_dir: DataDir) -> Iterator[TestClient]:
    """The drawn catalogue, served by the server that publishes. Only for reading."""
    with serving(built_data_dir.root) as started:
        yield started
