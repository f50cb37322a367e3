"""A replica takes nothing that is not as its manifest says, and brings only what it lacks."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from graph_store.checksums import sha256_of_bytes
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, ImsageError
from graph_store.snapshot import Snapshot
from graph_store.snapshot_fetch import FetchStopped, fetch_current
from graph_store.snapshot_files import seal
from graph_store.snapshot_store import SnapshotStore
from tests.replica.conftest import contents

Commit = Callable[[], Snapshot]


def file_there(store: SnapshotStore, version: str, name: str) -> str:
    return store.path("snapshots", version, name)


def altered(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("name", ["states/layer_0.npy", "counts.json", "manifest.json", "manifest.sha256"])
@pytest.mark.parametrize(
    "harm",
    [lambda data: data[: len(data) // 2], altered, lambda data: data + b" "],
    ids=["cut", "bit", "long"],
)
def test_a_damaged_file_is_refused_by_name_and_the_last_good_one_stays(
    store: SnapshotStore,
    commit: Commit,
    replica: DataDir,
    name: str,
    harm: Callable[[bytes], bytes],
) -> None:
    first = commit()
    store.publish(first, keep=3)
    fetch_current(store, replica, keep=3)
    good = contents(replica)
    second = commit()
    store.publish(second, keep=3)
    system, _ = store.files
    place = file_there(store, second.version, name)
    whole = system.cat_file(place)
    system.pipe_file(place, harm(whole))

    shown = "manifest.json" if name.startswith("manifest") else name
    with pytest.raises(CorruptFile, match=f"{second.version}/{shown}.* in the store") as refused:
        fetch_current(store, replica, keep=3)
    assert refused.value.path == Path("snapshots", second.version, shown)
    assert contents(replica) == good

    system.pipe_file(place, whole)
    fetched = fetch_current(store, replica, keep=3)
    assert fetched is not None and fetched.version == Snapshot.open(replica).version == second.version


def test_what_is_here_already_is_not_fetched(store: SnapshotStore, commit: Commit, replica: DataDir) -> None:
    store.publish(commit(), keep=3)
    fetch_current(store, replica, keep=3)
    store.publish(commit(), keep=3)

    fetched = fetch_current(store, replica, keep=3)
    # The words are the same in both, so only the others come.
    assert fetched is not None and fetched.files == 2


def test_a_stopped_fetch_is_taken_up_again(store: SnapshotStore, commit: Commit, replica: DataDir) -> None:
    snapshot = commit()
    store.publish(snapshot, keep=3)
    asked = iter([False, False, True])  # one file in two pieces, and then no more

    with pytest.raises(FetchStopped):
        fetch_current(store, replica, keep=3, stopped=lambda: next(asked))
    assert not replica.current_path.exists()
    fetched = fetch_current(store, replica, keep=3)
    assert fetched is not None and fetched.files == len(snapshot.manifest["files"]) - 1


def test_a_damaged_snapshot_of_the_replica_is_mended(
    store: SnapshotStore, commit: Commit, replica: DataDir
) -> None:
    store.publish(commit(), keep=3)
    fetch_current(store, replica, keep=3)
    good = contents(replica)
    path = Snapshot.open(replica).path("tags.json")
    path.write_bytes(altered(path.read_bytes()))

    fetched = fetch_current(store, replica, keep=3, again=True)
    assert fetched is not None and fetched.files == 1 and contents(replica) == good


def unreadable(monkeypatch: pytest.MonkeyPatch, path: Path, kept: Path, number: int = errno.EIO) -> None:
    """Let each read of a file fail, under whatever name. kept: one that keeps its place on the disk taken."""
    os.link(path, kept)
    real = hashlib.file_digest

    def read(file: BinaryIO, kind: str) -> Any:
        if os.path.samestat(os.fstat(file.fileno()), kept.stat()):
            raise OSError(number, os.strerror(number))
        return real(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", read)


def test_a_file_of_the_replica_that_cannot_be_read_is_fetched_anew(
    store: SnapshotStore, commit: Commit, replica: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(commit(), keep=3)
    fetch_current(store, replica, keep=3)
    good = contents(replica)
    unreadable(monkeypatch, Snapshot.open(replica).path("tags.json"), tmp_path / "bad")

    fetched = fetch_current(store, replica, keep=3, again=True)
    assert fetched is not None and fetched.files == 1 and contents(replica) == good


def test_a_newer_snapshot_is_fetched_though_a_file_that_both_have_cannot_be_read_here(
    store: SnapshotStore, commit: Commit, replica: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(commit(), keep=3)
    fetch_current(store, replica, keep=3)
    unreadable(monkeypatch, Snapshot.open(replica).path("tags.json"), tmp_path / "bad")
    newer = commit()
    store.publish(newer, keep=3)

    fetched = fetch_current(store, replica, keep=3)
    assert fetched is not None and fetched.version == Snapshot.open(replica).version == newer.version


def test_no_file_is_fetched_anew_because_no_file_handle_is_left(
    store: SnapshotStore, commit: Commit, replica: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(commit(), keep=3)
    fetch_current(store, replica, keep=3)
    path = Snapshot.open(replica).path("tags.json")
    unreadable(monkeypatch, path, tmp_path / "bad", errno.EMFILE)

    with pytest.raises(OSError, match="Too many open files"):
        fetch_current(store, replica, keep=3, again=True)
    assert path.samefile(tmp_path / "bad")


def test_a_second_worker_leaves_what_the_first_has_fetched_meanwhile_in_its_place(
    store: SnapshotStore, commit: Commit, replica: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(commit(), keep=1)
    real = SnapshotStore.read
    fetched_first: list[bool] = []

    def read(self: SnapshotStore, *parts: str, most: int) -> bytes:
        data = real(self, *parts, most=most)
        if parts[-1] == "manifest.json" and not fetched_first:
            fetched_first.append(True)
            assert fetch_current(store, replica, keep=1) is not None
        return data

    monkeypatch.setattr(SnapshotStore, "read", read)
    assert fetch_current(store, replica, keep=1) is None
    assert contents(replica)


def test_a_snapshot_that_is_fetched_again_stays_in_its_place_where_it_is_whole(
    store: SnapshotStore, commit: Commit, replica: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(commit(), keep=3)
    fetch_current(store, replica, keep=3)
    named = replica.current_path.stat().st_ino
    monkeypatch.setattr(Path, "rename", lambda path, target: pytest.fail(f"{path} was moved to {target}"))

    fetched = fetch_current(store, replica, keep=3, again=True)
    assert fetched is not None and fetched.files == 0
    # It is named anew, so that who could not read it tries again.
    assert replica.current_path.stat().st_ino != named


@pytest.mark.parametrize("keep", [1, 2])
def test_a_replica_keeps_no_more_than_it_is_told(
    store: SnapshotStore, commit: Commit, replica: DataDir, keep: int
) -> None:
    for _ in range(3):
        store.publish(commit(), keep=3)
        fetch_current(store, replica, keep=keep)
    assert len(list(replica.snapshots_dir.iterdir())) == keep


@pytest.mark.parametrize(
    "name", ["../../outside", "/outside", "a/../../../outside", "manifest.json", "a//b", ""]
)
def test_a_manifest_cannot_lead_out_of_the_snapshot(
    store: SnapshotStore, commit: Commit, replica: DataDir, name: str
) -> None:
    snapshot = commit()
    store.publish(snapshot, keep=3)
    told = {"size": 4, "sha256": sha256_of_bytes(b"evil")}
    manifest = json.dumps({**snapshot.manifest, "files": {name: told}}).encode()
    system, _ = store.files
    system.pipe_file(file_there(store, snapshot.version, "manifest.json"), manifest)
    system.pipe_file(file_there(store, snapshot.version, "manifest.sha256"), seal(manifest))

    with pytest.raises(CorruptFile, match="is no manifest"):
        fetch_current(store, replica, keep=3)
    assert not list(replica.root.parent.rglob("outside"))


@pytest.mark.parametrize("manifest", [b"[]", b"{}", b"not json", b'{"version": 3}'])
def test_a_manifest_that_is_none_is_refused(
    store: SnapshotStore, commit: Commit, replica: DataDir, manifest: bytes
) -> None:
    snapshot = commit()
    store.publish(snapshot, keep=3)
    system, _ = store.files
    system.pipe_file(file_there(store, snapshot.version, "manifest.json"), manifest)
    system.pipe_file(file_there(store, snapshot.version, "manifest.sha256"), seal(manifest))
    with pytest.raises(ImsageError, match="manifest"):
        fetch_current(store, replica, keep=3)


def test_a_version_that_goes_while_it_is_fetched_makes_way_for_the_newer(
    store: SnapshotStore, commit: Commit, replica: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = commit()
    store.publish(first, keep=1)
    second = commit()
    asked = 0
    real = SnapshotStore.current

    def current(self: SnapshotStore) -> str | None:
        nonlocal asked
        asked += 1
        named = real(self)
        if asked == 1:
            self.publish(second, keep=1)  # as another machine may, at any moment
        return named

    monkeypatch.setattr(SnapshotStore, "current", current)
    fetched = fetch_current(store, replica, keep=1)
    assert fetched is not None and fetched.version == second.version
