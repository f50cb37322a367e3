"""What a server does about the processes of its jobs, with short programs in their place."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs import runner as runner_module
from app.jobs.job import Job, Order
from app.jobs.runner import JobRunner
from app.jobs.slot import take_slot
from app.settings import Settings
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir

REINDEX = Order("reindex", {"full": False, "preset": None})
DEAF = "import time; time.sleep(600)"


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    """One with an empty catalogue."""
    data_dir = DataDir(tmp_path / "data")
    data_dir.create()
    Catalog.open(data_dir.catalog_path, create=True).close()
    return data_dir


@pytest.fixture
def runner(data_dir: DataDir) -> Iterator[JobRunner]:
    runner = JobRunner(Settings(data=data_dir.root))
    yield runner
    runner.close()


def run(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That program is the process of each job from now on."""
    monkeypatch.setattr(runner_module, "command", lambda *_: [sys.executable, "-c", program])


def submitted(runner: JobRunner, key: str | None = None) -> Job:
    made = runner.submit(REINDEX, key)
    assert made is not None
    return made.job


def ended(runner: JobRunner, job: Job) -> Job:
    """The job when it has ended."""
    until = time.monotonic() + 120
    while (now := runner.store.get(job.id)).active:
        assert time.monotonic() < until
        time.sleep(0.05)
    return now


def detail(job: Job) -> str:
    assert job.error is not None
    return job.error["detail"]


def test_a_job_whose_process_was_killed_says_so(runner: JobRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", monkeypatch)
    job = ended(runner, submitted(runner))

    assert (job.state, job.interrupted, job.resumable) == ("failed", True, True)
    assert "ended by signal 9; the machine may have run out of memory" in detail(job)


def test_a_job_whose_process_crashed_says_so(runner: JobRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    run("import sys; sys.exit(3)", monkeypatch)
    job = ended(runner, submitted(runner))

    assert job.interrupted and "ended with code 3, see the server's log" in detail(job)


def test_who_gets_the_slot_first_says_of_a_killed_process_what_it_was(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(DEAF, monkeypatch)
    # The thread that waits for the process sleeps: another one comes first.
    monkeypatch.setattr(JobRunner, "_watch", lambda *_: None)
    job = submitted(runner)
    (process,) = runner._processes
    process.kill()
    while runner.store.get(job.id).active:
        runner.settle()

    assert "signal 9" in detail(runner.store.get(job.id))


def test_a_job_that_a_stopping_server_had_to_kill_says_that_the_server_stopped(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(DEAF, monkeypatch)
    monkeypatch.setattr(runner_module, "_PATIENCE_SECONDS", 0.1)
    job = submitted(runner)
    runner.close()

    assert "The server stopped" in detail(JobRunner(runner._settings).store.get(job.id))


def test_a_job_that_is_found_without_a_process_says_that_the_server_stopped(runner: JobRunner) -> None:
    job = runner.store.claim(runner.store.add(REINDEX).id)
    runner.settle()

    assert "The server stopped" in detail(runner.store.get(job.id))


@pytest.mark.parametrize("meanwhile", ["runs", "has ended beside another", "has ended"])
def test_two_requests_with_one_key_at_once_get_one_job(
    meanwhile: str, runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Job] = []

    def after_another(path: Path) -> int | None:
        """The slot, after the other request got it, when this one had just found no job of its key."""
        if not made:
            made.append(runner.store.add(REINDEX, "tonight"))
            if meanwhile != "runs":
                runner.store.finish(made[0].id, "succeeded")
        return take_slot(path) if meanwhile == "has ended" else None

    monkeypatch.setattr(runner_module, "_SLOT_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(runner_module, "take_slot", after_another)
    replay = runner.submit(REINDEX, "tonight")

    assert replay is not None and replay.replayed and replay.job.id == made[0].id


def test_a_start_that_was_refused_leaves_its_key_for_the_next_try(
    runner: JobRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_handles(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", no_handles)
        with pytest.raises(OSError, match="Too many open files"):
            runner.submit(REINDEX, "tonight")
    run("pass", monkeypatch)
    again = runner.submit(REINDEX, "tonight")

    assert again is not None and not again.replayed


def test_a_package_of_our_name_in_the_working_directory_is_in_no_jobs_way(
    runner: JobRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "theirs" / "app"
    theirs.mkdir(parents=True)
    (theirs / "__init__.py").touch()
    (theirs / "settings.py").write_text("raise SystemExit('this is a shop, not imsage')")
    monkeypatch.chdir(theirs.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)  # two empty places: the working directory, twice

    job = ended(runner, submitted(runner))

    # There is nothing in the catalogue to index, and the job got so far as to say so.
    assert not job.interrupted and job.error is not None
