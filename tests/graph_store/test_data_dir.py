import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graph_store.data_dir import DataDir
from graph_store.durable import write_bytes
from graph_store.errors import DataDirBusy, Unwritable

HOLDER = """
import sys, time
from pathlib import Path
from graph_store.data_dir import DataDir
with DataDir(Path(sys.argv[1])).lock("ingest"):
    print("locked", flush=True)
    time.sleep(60)
"""

HOLDER_WITH_A_FORKED_CHILD = """
import os, sys, time
from pathlib import Path
from graph_store.data_dir import DataDir
with DataDir(Path(sys.argv[1])).lock("ingest"):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


def start(program: str, root: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_create_makes_every_directory_and_may_be_repeated(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "new" / "data")
    data_dir.create()
    data_dir.create()
    assert {path.name for path in data_dir.root.iterdir()} == {"features", "blobs", "models", "snapshots"}


def test_a_second_process_is_told_who_holds_the_lock_and_why(tmp_path: Path) -> None:
    process, _ = start(HOLDER, tmp_path)
    try:
        with (
            pytest.raises(DataDirBusy, match=rf"process {process.pid} \(ingest\)"),
            DataDir(tmp_path).lock("train"),
        ):
            pass
    finally:
        finish(process)


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    process, _ = start(HOLDER, tmp_path)
    finish(process)
    with DataDir(tmp_path).lock("train"):
        held = json.loads(DataDir(tmp_path).lock_path.read_text())
    assert (held["pid"], held["purpose"]) == (os.getpid(), "train")


def test_a_killed_writer_is_remembered_until_somebody_has_tidied_up(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    assert not data_dir.untidy
    with data_dir.lock("train"), data_dir.writing("train"):
        assert data_dir.untidy  # somebody is at work
    assert not data_dir.untidy

    finish(start(HOLDER, tmp_path)[0])
    assert data_dir.untidy
    with data_dir.lock("train"):
        pass  # an orderly end of another writer says nothing of what the killed one left
    assert data_dir.untidy

    with data_dir.lock("tidy up"), data_dir.writing("tidy up"):
        data_dir.mark_tidy("tidy up")
    assert not data_dir.untidy


def test_a_write_that_is_done_stays_done_when_its_end_cannot_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    data_dir = DataDir(tmp_path)
    with data_dir.writing("serve"):
        monkeypatch.setattr(os, "pwrite", full)
    assert data_dir.untidy


def test_a_note_takes_no_more_room_than_the_one_before(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    with data_dir.writing("serve"):
        before = data_dir.write_lock_path.stat().st_size
    assert data_dir.write_lock_path.stat().st_size == before


def test_a_writer_that_failed_is_remembered_too(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    with pytest.raises(RuntimeError), data_dir.writing("serve"):
        raise RuntimeError("in the middle")
    assert data_dir.untidy


def is_free_within(seconds: float, data_dir: DataDir) -> bool:
    """A child lets go as the first thing it does, but on a busy machine its parent may die before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with data_dir.lock("train"):
                return True
        except DataDirBusy:
            time.sleep(0.05)
    return False


def test_a_forked_worker_does_not_keep_the_lock_of_its_killed_parent(tmp_path: Path) -> None:
    process, child = start(HOLDER_WITH_A_FORKED_CHILD, tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    try:
        assert is_free_within(10.0, DataDir(tmp_path))
    finally:
        os.kill(int(child), signal.SIGKILL)
        finish(process)


def test_the_lock_does_not_nest_but_can_be_taken_again(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    with data_dir.lock("ingest"), pytest.raises(DataDirBusy), data_dir.lock("train"):
        pass
    with data_dir.lock("train"):
        pass


def test_a_directory_that_cannot_be_made_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match=r"Cannot write .*data: a part of the path is a file\. Free space"):
        DataDir(tmp_path / "file" / "data").create()


def test_a_read_only_disk_is_reported(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(Unwritable, match="the file system is read-only"):
        DataDir(small_disk / "data").create()
    with pytest.raises(Unwritable, match="the file system is read-only"), DataDir(small_disk).lock("ingest"):
        pass


def test_a_full_disk_is_reported_and_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "CURRENT"
    write_bytes(target, b"old")
    # Every write to /dev/full fails as on a full disk.
    (tmp_path / f".CURRENT.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(Unwritable, match="the disk is full"):
        write_bytes(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["CURRENT"]
    assert target.read_bytes() == b"old"
