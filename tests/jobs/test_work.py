"""What a job does and tells, without its process."""

from __future__ import annotations

import json
from pathlib import Path

from app.jobs.work import do_work
from app.settings import Settings
from gnn.last_trained import last_trained
from graph_store.progress import SilentProgress
from tests.gnn.worlds import drawn_features, drawn_records, drawn_tags, write_catalogue


def test_a_training_leaves_a_model_and_tells_of_it_in_json(tmp_path: Path) -> None:
    chosen = drawn_tags(120)
    data_dir = write_catalogue(tmp_path, drawn_records(chosen), drawn_features(chosen))
    parameters = {"preset": "default", "epochs": 1, "seed": 0, "resume": False}

    result = do_work("train", parameters, Settings(data=tmp_path), SilentProgress())

    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["preset"] == "default" and result["epochs"] >= 1
    assert 0 < result["best_metric"] <= 1 and result["seconds"] > 0
    assert last_trained(data_dir) == "default"
