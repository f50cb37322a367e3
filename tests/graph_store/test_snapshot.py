import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from graph_store.array_files import load_array, save_array
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, NotFound, NothingToServe, Unwritable
from graph_store.graph import Graph
from graph_store.snapshot import (
    Snapshot,
    SnapshotWriter,
    keep_whole,
    last_good,
    prune,
    verify_all,
)
from graph_store.snapshot_files import UnreadableFile, versions
from graph_store.swap import finish_interrupted

MANIFEST = {
    "encoder": {"name": "efficientnet_lite0", "dim": 4},
    "text_encoder": None,
    "model": {"preset": "default"},
    "parameters": {"k": 5},
    "counts": {"images": 3},
}


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    data_dir = DataDir(tmp_path)
    data_dir.create()
    return data_dir


def write(data_dir: DataDir, value: int) -> Snapshot:
    with SnapshotWriter(data_dir) as writer:
        writer.array("embeddings", np.full((3, 4), value, np.float32))
        writer.json("tags", [f"tag {value}"])
        Graph(2, 1, Csr.empty(2), Csr.empty(2), Csr.empty(1), Csr.empty(1)).save(writer.path("graph"))
        return writer.commit(MANIFEST)


def value_of(snapshot: Snapshot) -> int:
    value = int(snapshot.array("embeddings")[0, 0])
    assert snapshot.json("tags") == [f"tag {value}"]
    assert Graph.load(snapshot.path("graph")).num_images == 2
    return value


def test_a_committed_snapshot_is_current_and_whole(data_dir: DataDir) -> None:
    written = write(data_dir, 7)
    snapshot = Snapshot.open(data_dir)
    assert value_of(snapshot) == 7
    assert snapshot.version == written.version
    assert snapshot.version.startswith("000001-")
    assert snapshot.manifest == written.manifest
    assert snapshot.manifest["model"] == {"preset": "default"}
    assert snapshot.manifest["files"]["embeddings.npy"]["size"] == 176
    assert not snapshot.array("embeddings").flags.writeable
    assert verify_all(data_dir) == []


def test_versions_rise_and_old_ones_stay_readable(data_dir: DataDir) -> None:
    first, second = write(data_dir, 1), write(data_dir, 2)
    assert first.version < second.version
    assert value_of(Snapshot.open(data_dir)) == 2
    assert value_of(Snapshot.open(data_dir, first.version)) == 1
    assert value_of(first) == 1


@pytest.mark.parametrize(
    "version",
    ["000009-00000000", "../models", ".tmp-000001", "", "ü" * 300, "9" * 300 + "-00000000", "\0", "\ud800"],
)
def test_an_unknown_version_or_file_is_not_found(data_dir: DataDir, version: str) -> None:
    with pytest.raises(NotFound):
        Snapshot.open(data_dir, version)
    with pytest.raises(NotFound, match=r"'no\.npy'"):
        write(data_dir, 1).array("no")


def test_there_is_nothing_to_serve_before_the_first_snapshot(data_dir: DataDir) -> None:
    with pytest.raises(NothingToServe, match="imsage reindex"):
        Snapshot.open(data_dir)
    with pytest.raises(NothingToServe):
        last_good(data_dir)
    assert prune(DataDir(data_dir.root / "none"), 1) == []


def test_an_error_while_writing_leaves_no_trace(data_dir: DataDir) -> None:
    write(data_dir, 1)
    with pytest.raises(RuntimeError, match="broken"), SnapshotWriter(data_dir) as writer:
        writer.array("embeddings", np.zeros(3))
        raise RuntimeError("broken")
    with SnapshotWriter(data_dir) as writer:
        writer.json("tags", [])
    assert len(list(data_dir.snapshots_dir.iterdir())) == 1
    assert value_of(Snapshot.open(data_dir)) == 1


def test_what_lies_in_the_scratch_directory_never_gets_into_the_snapshot(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SnapshotWriter(data_dir) as writer:
        writer.json("tags", [])
        with monkeypatch.context() as nfs:
            # There a file that somebody has mapped stays under another name, and its directory with it.
            nfs.setattr("graph_store.snapshot.shutil.rmtree", lambda *args, **how: None)
            with writer.scratch() as scratch:
                (scratch / ".nfs0001").write_bytes(b"features")
        snapshot = writer.commit(MANIFEST)
    assert set(snapshot.manifest["files"]) == {"tags.json"}
    assert {path.name for path in snapshot.directory.iterdir()} == {
        "tags.json",
        "manifest.json",
        "manifest.sha256",
    }
    write(data_dir, 1)
    assert not list(data_dir.snapshots_dir.glob(".tmp-*"))


def test_an_array_that_somebody_cut_short_is_not_sealed(data_dir: DataDir) -> None:
    with (
        pytest.raises(CorruptFile, match=r"embeddings\.npy is not a whole"),
        SnapshotWriter(data_dir) as writer,
    ):
        writer.array("embeddings", np.zeros(1000))
        os.truncate(writer.path("embeddings.npy"), 5000)
        writer.commit(MANIFEST)


@pytest.mark.parametrize("name", ["embeddings.npy", "tags.json"])
def test_a_file_that_changed_on_its_way_to_the_disk_is_not_sealed(data_dir: DataDir, name: str) -> None:
    write(data_dir, 1)
    with pytest.raises(CorruptFile, match=name), SnapshotWriter(data_dir) as writer:
        writer.array("embeddings", np.zeros(1000))
        writer.json("tags", ["cat", "dog"])
        whole = writer.path(name).read_bytes()
        writer.path(name).write_bytes(whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:])
        writer.commit(MANIFEST)
    assert value_of(Snapshot.open(data_dir)) == 1


@pytest.mark.parametrize("name", ["../CURRENT", "/etc/x", "manifest.json"])
def test_a_name_that_leaves_the_snapshot_is_refused(data_dir: DataDir, name: str) -> None:
    with SnapshotWriter(data_dir) as writer, pytest.raises(ValueError, match="no name for a file"):
        writer.path(name)


def test_the_manifest_cannot_be_given_what_is_measured(data_dir: DataDir) -> None:
    with SnapshotWriter(data_dir) as writer, pytest.raises(ValueError, match="version, files"):
        writer.commit({**MANIFEST, "version": "x", "files": {}})


def all_files(data_dir: DataDir, snapshot: Snapshot) -> list[Path]:
    return [data_dir.current_path, *(path for path in snapshot.directory.rglob("*") if path.is_file())]


def refused_name(data_dir: DataDir) -> str:
    with pytest.raises(CorruptFile) as caught:
        Snapshot.open(data_dir)
    assert str(caught.value.path) in caught.value.message
    problems = verify_all(data_dir)
    assert [problem.path for problem in problems] == [caught.value.path]
    return caught.value.path.name


def test_any_flipped_bit_of_any_file_is_refused_by_name(data_dir: DataDir) -> None:
    snapshot = write(data_dir, 5)
    files = all_files(data_dir, snapshot)
    assert len(files) == 1 + 2 + 12 + 2
    random = np.random.default_rng(0)
    for path in files:
        data = path.read_bytes()
        for place in {0, len(data) - 1, *random.integers(0, len(data), 4).tolist()}:
            flipped = bytearray(data)
            flipped[place] ^= 1 << int(random.integers(0, 8))
            path.write_bytes(flipped)
            expected = "manifest.json" if path.name == "manifest.sha256" else path.name
            assert refused_name(data_dir) == expected
        path.write_bytes(data)
    assert value_of(Snapshot.open(data_dir)) == 5


def test_any_truncated_or_missing_file_is_refused_by_name(data_dir: DataDir) -> None:
    snapshot = write(data_dir, 5)
    for path in all_files(data_dir, snapshot):
        data = path.read_bytes()
        for size in (0, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:size])
            expected = "manifest.json" if path.name == "manifest.sha256" else path.name
            assert refused_name(data_dir) == expected
        path.unlink()
        if path != data_dir.current_path:
            assert refused_name(data_dir) == path.name
        else:
            assert [problem.path for problem in verify_all(data_dir)] == [path]
        path.write_bytes(data)


def test_without_verifying_a_short_file_is_still_refused(data_dir: DataDir) -> None:
    path = write(data_dir, 5).path("embeddings.npy")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptFile, match=r"embeddings\.npy has 175 bytes in place of 176"):
        Snapshot.open(data_dir, verify=False)


def test_the_last_good_snapshot_is_found_behind_a_damaged_one(data_dir: DataDir) -> None:
    for value in (1, 2, 3):
        snapshot = write(data_dir, value)
    (snapshot.directory / "tags.json").write_text('["tag 4"]')
    with pytest.raises(CorruptFile):
        Snapshot.open(data_dir)
    assert value_of(last_good(data_dir)) == 2


def failing_reads(monkeypatch: pytest.MonkeyPatch, number: int, snapshot: Snapshot) -> None:
    """Let each read of the vectors of a snapshot fail as the system says it."""
    real = hashlib.file_digest

    def read(file: BinaryIO, kind: str) -> Any:
        if file.name == str(snapshot.path("embeddings.npy")):
            raise OSError(number, os.strerror(number))
        return real(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", read)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_file_that_the_system_does_not_let_be_read_is_refused_by_name_and_the_one_before_is_good(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    good, newest = write(data_dir, 1), write(data_dir, 2)
    failing_reads(monkeypatch, number, newest)
    with pytest.raises(UnreadableFile, match=r"embeddings\.npy cannot be read") as refused:
        Snapshot.open(data_dir)
    assert refused.value.path == newest.path("embeddings.npy")
    assert last_good(data_dir).version == good.version
    assert [found.path for found in verify_all(data_dir)] == [refused.value.path]


def test_a_manifest_that_the_system_does_not_let_be_read_is_refused_by_name(data_dir: DataDir) -> None:
    path = write(data_dir, 1).directory / "manifest.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(UnreadableFile, match=r"manifest\.json cannot be read: Is a directory"):
        Snapshot.open(data_dir)


def test_a_snapshot_that_cannot_be_read_is_not_removed(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = write(data_dir, 1)
    whole = [write(data_dir, value) for value in (2, 3)]
    failing_reads(monkeypatch, errno.EIO, unreadable)
    assert keep_whole(data_dir, 3) == []
    assert versions(data_dir) == [unreadable.version, *(each.version for each in whole)]


def test_a_snapshot_for_which_no_file_handle_is_left_is_not_called_unreadable(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_reads(monkeypatch, errno.EMFILE, write(data_dir, 1))
    with pytest.raises(OSError, match="Too many open files"):
        Snapshot.open(data_dir)


def test_a_snapshot_copied_under_another_name_is_refused(data_dir: DataDir) -> None:
    snapshot = write(data_dir, 1)
    shutil.copytree(snapshot.directory, data_dir.snapshots_dir / "000002-00000000")
    with pytest.raises(CorruptFile, match="belongs to snapshot 000001-"):
        Snapshot.open(data_dir, "000002-00000000")


def test_a_current_that_names_a_missing_snapshot_is_refused(data_dir: DataDir) -> None:
    data_dir.current_path.write_text("000004-00000000\n")
    assert refused_name(data_dir) == "CURRENT"


def test_pruning_keeps_the_newest_and_the_current(data_dir: DataDir) -> None:
    snapshots = [write(data_dir, value) for value in range(5)]
    data_dir.current_path.write_text(f"{snapshots[0].version}\n")
    assert prune(data_dir, 2) == [snapshot.version for snapshot in snapshots[1:3]]
    assert value_of(Snapshot.open(data_dir)) == 0
    assert value_of(Snapshot.open(data_dir, snapshots[4].version)) == 4
    assert len(list(data_dir.snapshots_dir.iterdir())) == 3


def test_the_newest_that_are_whole_are_kept(data_dir: DataDir) -> None:
    made = [write(data_dir, value) for value in range(5)]
    with made[3].path("embeddings.npy").open("r+b") as file:
        file.write(b"?")
    assert set(keep_whole(data_dir, 3)) == {made[0].version, made[3].version}
    assert versions(data_dir) == [made[place].version for place in (1, 2, 4)]


def test_a_snapshot_that_somebody_has_just_read_is_not_read_again(data_dir: DataDir) -> None:
    made = [write(data_dir, value) for value in range(3)]
    with made[1].path("embeddings.npy").open("r+b") as file:
        file.write(b"?")
    assert keep_whole(data_dir, 3, known=[made[1].version]) == []
    assert keep_whole(data_dir, 3) == [made[1].version]


def test_the_current_snapshot_stays_though_newer_ones_are_whole(data_dir: DataDir) -> None:
    made = [write(data_dir, value) for value in range(4)]
    data_dir.current_path.write_text(f"{made[0].version}\n")
    assert set(keep_whole(data_dir, 1)) == {made[1].version, made[2].version}
    assert versions(data_dir) == [made[0].version, made[3].version]


def test_a_snapshot_of_which_nfs_keeps_mapped_files_goes_with_the_next_writer(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed, current = write(data_dir, 1), write(data_dir, 2)
    remove = os.rmdir

    def mapped(path: str, **options: Any) -> None:
        """A removed file that somebody maps is kept under another name, so its folder is not empty."""
        if str(path).endswith("graph"):
            raise OSError(errno.ENOTEMPTY, "Directory not empty", path)
        remove(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", mapped)
        assert prune(data_dir, 1) == [doomed.version]
        finish_interrupted(data_dir)
    assert versions(data_dir) == [current.version]

    finish_interrupted(data_dir)
    assert [path.name for path in data_dir.snapshots_dir.iterdir()] == [current.version]


def test_nothing_is_pruned_while_it_is_not_known_what_is_current(data_dir: DataDir) -> None:
    for value in range(3):
        write(data_dir, value)
    data_dir.current_path.write_text("?")
    assert prune(data_dir, 1) == []


def test_a_full_disk_is_reported_and_the_old_snapshot_serves(small_disk: Path) -> None:
    data_dir = DataDir(small_disk)
    data_dir.create()
    write(data_dir, 1)
    with pytest.raises(Unwritable, match="the disk is full"), SnapshotWriter(data_dir) as writer:
        writer.array("embeddings", np.zeros(2**20))
    with pytest.raises(Unwritable, match="the disk is full"), SnapshotWriter(data_dir) as writer:
        Graph(2**16, 0, *[Csr.empty(2**16)] * 2, *[Csr.empty(0)] * 2).save(writer.path("graph"))
    assert value_of(Snapshot.open(data_dir)) == 1
    assert len(list(data_dir.snapshots_dir.iterdir())) == 1


def test_a_copy_of_a_mapped_array_that_does_not_fit_is_reported_too(small_disk: Path) -> None:
    data_dir = DataDir(small_disk)
    data_dir.create()
    write(data_dir, 1)
    free = shutil.disk_usage(small_disk).free
    save_array(small_disk / "first.npy", np.ones(int(0.6 * free) // 8))
    with pytest.raises(Unwritable, match="the disk is full"), SnapshotWriter(data_dir) as writer:
        writer.array("embeddings", load_array(small_disk / "first.npy"))
    assert value_of(Snapshot.open(data_dir)) == 1
    assert len(list(data_dir.snapshots_dir.iterdir())) == 1


def test_a_read_only_disk_still_serves(small_disk: Path) -> None:
    data_dir = DataDir(small_disk)
    data_dir.create()
    write(data_dir, 1)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert value_of(Snapshot.open(data_dir)) == 1
    with pytest.raises(Unwritable, match="read-only"):
        write(data_dir, 2)


# Runs in its own process, which has one thread: forks a writer again and again, and kills it at its 1st,
# 2nd, 3rd … fsync, rename or replacement, before or after the call, until one gets through.
KILLED_AT_EVERY_STEP = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
from graph_store.data_dir import DataDir
from graph_store.snapshot import Snapshot, SnapshotWriter, prune, verify_all
from graph_store.snapshot_files import current_version, versions
from graph_store.swap import finish_interrupted

data_dir = DataDir(Path(sys.argv[1]))

def write(value):
    with data_dir.lock("reindex"), SnapshotWriter(data_dir) as writer:
        writer.array("embeddings", np.full((3, 4), value, np.float32))
        writer.json("tags", [f"tag {value}"])
        writer.commit({})
        prune(data_dir, 1)

def die_at(step, after):
    seen = 0
    def dying(call):
        def wrapped(*args, **kwargs):
            nonlocal seen
            seen += 1
            if seen == step and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **kwargs)
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        return wrapped
    os.fsync = dying(os.fsync)
    Path.rename = dying(Path.rename)
    Path.replace = dying(Path.replace)

def finished(step, after, value):
    child = os.fork()
    if child == 0:
        die_at(step, after)
        write(value)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0

write(0)
expected, seen = 0, []
for step in range(1, 100):
    for after in (False, True):
        done = finished(step, after, expected + 1)
        snapshot = Snapshot.open(data_dir)
        value = int(snapshot.array("embeddings")[0, 0])
        assert snapshot.json("tags") == [f"tag {value}"]
        assert value in (expected, expected + 1)
        assert verify_all(data_dir) == []
        finish_interrupted(data_dir)
        names = {path.name for path in data_dir.root.iterdir()} | set(os.listdir(data_dir.snapshots_dir))
        assert not {name for name in names if name.startswith((".tmp", ".CURRENT.next"))}, names
        # A whole snapshot that was about to be current has become it.
        assert versions(data_dir)[-1] == current_version(data_dir)
        value = int(Snapshot.open(data_dir).array("embeddings")[0, 0])
        assert value in (expected, expected + 1)
        seen.append(value - expected)
        expected = value
    if done:
        break
write(expected + 1)
print(json.dumps({"steps": step, "moved": sum(seen), "stayed": seen.count(0)}))
"""


def test_a_kill_at_any_step_leaves_the_old_snapshot_or_the_new_one(data_dir: DataDir) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(data_dir.root)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["steps"] > 10 and outcome["moved"] > 2 and outcome["stayed"] > 10
    assert [path.name for path in data_dir.snapshots_dir.iterdir()] == [Snapshot.open(data_dir).version]


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
def test_an_interruption_at_any_step_of_a_swap_leaves_no_name_without_its_snapshot(
    data_dir: DataDir, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    write(data_dir, 0)
    outcomes = []
    for step in range(1, 100):
        before = value_of(Snapshot.open(data_dir))
        with monkeypatch.context() as patched:
            interrupt_at(patched, step, after)
            try:
                write(data_dir, before + 1)
            except KeyboardInterrupt:
                outcomes.append(value_of(Snapshot.open(data_dir)) - before)
            else:
                break
        assert verify_all(data_dir) == []
        assert versions(data_dir)[-1] == Snapshot.open(data_dir).version
        left = [*data_dir.snapshots_dir.iterdir(), *data_dir.root.iterdir()]
        assert not [path for path in left if path.name.startswith(".")]
    assert outcomes.count(0) > 10
    # CURRENT is replaced last, and only then fsynced.
    assert outcomes[-3:] == ([0, 1, 1] if after else [0, 0, 1])


def interrupt_at(patched: pytest.MonkeyPatch, step: int, after: bool) -> None:
    """Ctrl-C at the so-manyeth fsync, rename or replacement, before or after it is done."""
    seen = 0

    def interrupted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == step and not after:
                raise KeyboardInterrupt
            result = call(*args)
            if seen == step:
                raise KeyboardInterrupt
            return result

        return wrapped

    for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace")):
        patched.setattr(owner, name, interrupted(getattr(owner, name)))
