from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.ingest.pipeline import ingest
from graph_store.data_dir import DataDir
from tests.ingest.conftest import Draw, records, tags_of, write_rows
from tests.ingest.test_pipeline import stored_features

IMAGES = 120
CODE = """
import sys
from pathlib import Path
from app.ingest.pipeline import ingest
from graph_store.data_dir import DataDir
ingest(Path(sys.argv[1]), DataDir(Path(sys.argv[2])), batch_size=2)
"""


def stored_rows(data_dir: DataDir) -> int:
    """How many rows the feature file of the run under way has got to."""
    return sum(file.stat().st_size // (1280 * 4) for file in data_dir.features_dir.glob("*.f32"))


def test_a_killed_ingest_goes_on_where_it_was_and_loses_nothing(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    for seed in range(IMAGES):
        draw(f"{seed}.png", seed=seed)
    rows = [{"image": f"{seed}.png", "tags": [f"tag {seed % 7}"]} for seed in range(IMAGES)]
    source = write_rows(tmp_path / "tags.jsonl", rows)

    process = subprocess.Popen([sys.executable, "-c", CODE, str(source), str(data_dir.root)])
    deadline = time.monotonic() + 120
    while process.poll() is None and stored_rows(data_dir) < IMAGES // 6:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    if process.poll() is not None:
        pytest.fail("it ended before it could be killed")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = records(data_dir)
    report = ingest(source, data_dir)

    assert 0 < len(before) < IMAGES
    assert (report.seen, report.unchanged, report.stored) == (IMAGES, len(before), IMAGES - len(before))
    after = records(data_dir)
    assert sorted(after) == sorted(row["image"] for row in rows)
    assert all(tags_of(after[f"{seed}.png"]) == [f"tag {seed % 7}"] for seed in range(IMAGES))
    assert all(after[name] == record for name, record in before.items())

    untouched = DataDir(tmp_path / "untouched")
    ingest(source, untouched)
    expected, found = stored_features(untouched), stored_features(data_dir)
    assert all(abs(found[name] - expected[name]).max() < 1e-5 for name in expected)
