"""The short forms of what `make chaos` does at length."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from gnn.training import train
from graph_store.data_dir import DataDir
from tests.chaos.swap_under_load import KEEP, swap_under_load

POINTS = (
    "ingest:before upsert the catalogue:3",
    "upsert and delete:after write features/efficientnet_lite#-#.f#:2",
    "reindex:before replace .CURRENT.next:1",
    "incremental reindex:within embed:1",
    "incremental reindex:after replace .CURRENT.next:1",
)


def test_what_was_acknowledged_outlives_kills_and_nothing_is_left_over(built_copy: DataDir) -> None:
    folder = built_copy.root.parent
    built_copy.root.rename(folder / "data")
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.kill_anywhere", "--folder", str(folder), "--at", *POINTS],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout[done.stdout.index("{") :])
    assert figures["all_kills"] == len(POINTS) and figures["completed"] == 0


def test_readers_meet_no_error_and_no_mixture_while_snapshots_are_swapped(
    built_copy: DataDir, tmp_path: Path
) -> None:
    train(built_copy, "paper", epochs=1)
    figures = swap_under_load(built_copy, tmp_path / "log", swaps=4, readers=4)
    assert figures.versions_answered >= 4
    assert figures.answers["pages"] and figures.answers["filter"] and figures.answers["words"]
    assert figures.most_on_disk == KEEP
