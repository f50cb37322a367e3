"""A job takes the processor time that the service leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from graph_store.data_dir import DataDir
from tests.api.conftest import serving
from tests.jobs.conftest import ENDLESS, follow, submitted

SHOWN = """
import os, sys
from pathlib import Path
from app.jobs.process import step_back
step_back(10, *map(Path, sys.argv[1:]))
print(os.nice(0))
"""


def nice_value_after_stepping_back(*autogroup: Path) -> int:
    """Of a process of its own: nobody may take the step forward again."""
    done = subprocess.run(
        [sys.executable, "-c", SHOWN, *map(str, autogroup)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_a_job_comes_after_other_processes_and_its_session_after_other_sessions(tmp_path: Path) -> None:
    group = tmp_path / "autogroup"
    group.write_text("/autogroup-7 nice 0\n")
    assert nice_value_after_stepping_back(group) == os.nice(0) + 10
    assert group.read_text() == "10"


@pytest.mark.skipif(not os.access("/proc/self/autogroup", os.W_OK), reason="no autogroup that may be written")
def test_the_system_takes_the_session_back_too() -> None:
    script = f"{SHOWN}\nprint(Path('/proc/self/autogroup').read_text())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, start_new_session=True
    )
    assert done.stdout.split()[-1] == "10"


def test_a_running_job_has_stepped_back_and_has_as_many_threads_as_the_settings_say(
    built_copy: DataDir,
) -> None:
    with serving(built_copy.root, job_nice=7, job_threads=3) as client:
        job = submitted(client, ENDLESS)
        # A job is claimed by its own process, once that has stepped back.
        follow(client, job["id"], lambda job: bool(job["state"] == "processing"))
        (process,) = client.app.state.runner._processes  # type: ignore[attr-defined]  # any ASGI application
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.nice(0) + 7
        assert b"OMP_NUM_THREADS=3" in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")


def test_a_system_without_autogroup_lowers_the_process_alone(tmp_path: Path) -> None:
    assert nice_value_after_stepping_back(tmp_path / "none") == os.nice(0) + 10
    assert not (tmp_path / "none").exists()
