"""`imsage jobs` tells the history."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import run
from app.jobs.job import JobProgress, Order
from app.jobs.places import jobs_path
from app.jobs.process import stopped
from app.jobs.store import JobStore
from graph_store.data_dir import DataDir

REINDEX = Order("reindex", {"full": False, "preset": None})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    store = JobStore(jobs_path(DataDir(tmp_path)))
    stopped(store, store.claim(store.add(REINDEX).id).id, "interrupted")
    running = store.claim(store.add(REINDEX).id)
    store.report(running.id, JobProgress("embed", 41_000, 100_000, seconds_left=12.4), [])
    store.close()
    return tmp_path


def test_the_table_tells_what_runs_and_what_was_interrupted(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["jobs", "--data", str(data)]) == 0

    head, newest, oldest = capsys.readouterr().out.splitlines()
    assert head.split() == ["job", "kind", "state", "started", "progress"]
    assert "processing" in newest and "embed: 41,000 of 100,000, 12 s left" in newest
    assert "interrupted" in oldest and "Resume it" in oldest


def test_as_json_they_are_what_the_service_answers(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "--json", "-n", "1", "--data", str(data)]) == 0

    (told,) = json.loads(capsys.readouterr().out)
    assert told == JobStore(jobs_path(DataDir(data))).page(1)[0].to_dict()


def test_without_any_job_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "There were no jobs yet\n"
