"""Training by several processes: the steps of one process with the same batches."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnn.graph_build import build_graph
from gnn.model.rise_sage import RiseConfig, RiseSage
from gnn.model.sage import HeteroSage, SageConfig
from gnn.objectives.graph_rise import GraphRiseObjective, RiseObjectiveConfig
from gnn.objectives.random_walk import RandomWalkConfig, RandomWalkObjective
from gnn.parallel import Team, team_of_environment
from gnn.presets import preset_named
from gnn.trained_model import MODEL, load_trained_model
from gnn.trainer import HISTORY, Objective, Trainer, TrainerSettings
from gnn.training import train
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from tests.gnn.worlds import drawn_data, drawn_features, drawn_records, drawn_tags, write_catalogue

PRESETS = ("paper", "graph-rise")
EPOCHS = 3
NUM = 1100  # three batches an epoch


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    chosen = drawn_tags(NUM)
    return write_catalogue(tmp_path_factory.mktemp("drawn"), drawn_records(chosen), drawn_features(chosen))


def copy_of(data_dir: DataDir, folder: Path) -> DataDir:
    shutil.copytree(data_dir.root, folder)
    return DataDir(folder)


def history(data_dir: DataDir, preset: str) -> list[dict[str, Any]]:
    lines = (data_dir.models_dir / preset / HISTORY).read_text().splitlines()
    return [json.loads(line) for line in lines]


_TRAIN = f"""
import sys
from pathlib import Path
from gnn.training import train
from graph_store.data_dir import DataDir
for preset in {PRESETS}:
    train(DataDir(Path(sys.argv[1])), preset, epochs={EPOCHS}, device="cpu")
"""


def test_two_processes_have_the_loss_curve_of_one_with_the_same_batches(
    catalogue: DataDir, tmp_path: Path
) -> None:
    theirs, ours = copy_of(catalogue, tmp_path / "two"), copy_of(catalogue, tmp_path / "one")
    script = tmp_path / "script.py"
    script.write_text(_TRAIN)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(script), str(theirs.root)], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for preset in PRESETS:
        train(ours, preset, epochs=EPOCHS, device="cpu", team=Team(parts=2))
        curves = [
            [(line["epoch"], line["loss"]) for line in history(each, preset)] for each in (theirs, ours)
        ]
        assert len(curves[0]) == EPOCHS
        np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
        models = [load_trained_model(each.models_dir / preset) for each in (theirs, ours)]
        weights = [models[0].model.state_dict(), models[1].model.state_dict()]
        for name, tensor in weights[0].items():
            torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-4)


_READ_BETWEEN_WRITES = """
import os, sys
from dataclasses import replace
from pathlib import Path
import gnn.training
from graph_store.data_dir import DataDir
from graph_store.errors import DataDirBusy
load = gnn.training.load_graph_data
def later(data_dir, device):
    data = load(data_dir, device)
    if os.environ["RANK"] == "0":
        return data
    images = replace(data.images, ids=("another", *data.images.ids[1:]))  # stored after the first one read
    return replace(data, images=images)
gnn.training.load_graph_data = later
try:
    gnn.training.train(DataDir(Path(sys.argv[1])), "paper", epochs=1, device="cpu")
except DataDirBusy as error:
    Path(sys.argv[2], os.environ["RANK"]).write_text(str(error))
"""


def test_processes_that_read_the_catalogue_before_and_after_a_write_refuse_to_train(
    catalogue: DataDir, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(_READ_BETWEEN_WRITES)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    asked = [str(script), str(copy_of(catalogue, tmp_path / "data").root), str(tmp_path)]
    done = subprocess.run([*torchrun, *asked], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = [(tmp_path / rank).read_text() for rank in ("0", "1")]
    assert told[0] == told[1] and told[0].startswith("The catalogue was written to while")


def pretend_torchrun(monkeypatch: pytest.MonkeyPatch, *, processes: int, gpus: int) -> list[str]:
    """This process as one of several on a machine; returns the backends by which it connects."""
    connected: list[str] = []
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, str(processes))
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: None)
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda backend, timeout: connected.append(backend)
    )
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr("atexit.register", lambda function: None)
    return connected


def test_more_processes_than_gpus_are_refused_before_they_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = pretend_torchrun(monkeypatch, processes=2, gpus=1)
    with pytest.raises(BadInput, match=r"2 processes on a machine with 1 GPU, .*--device cpu"):
        team_of_environment("auto")
    assert not connected


@pytest.mark.parametrize(
    "device, gpus, backend", [("auto", 2, "nccl"), ("cpu", 1, "gloo"), ("auto", 0, "gloo")]
)
def test_processes_talk_through_nccl_where_each_has_a_gpu(
    device: str, gpus: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = pretend_torchrun(monkeypatch, processes=2, gpus=gpus)
    assert team_of_environment(device) == Team(2, 0)
    assert connected == [backend]


def objective(kind: str, team: Team) -> Objective:
    """Without dropout, and with every neighbourhood taken whole: only the batches are drawn."""
    data = drawn_data(90)
    how = preset_named("graph-rise")
    graph = build_graph(data.features, data.tags_of_image, data.tag_text, how.graph)
    features = torch.from_numpy(data.features)
    dim, tags = data.features.shape[1], data.num_tags
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "paper":
            model = HeteroSage(SageConfig(dim, 0, tags, hidden=16, dropout=0.0))
            settings = RandomWalkConfig(fan_outs=(100, 100), batch_size=32)
            return RandomWalkObjective(model, graph, features, torch.zeros(tags, 0), settings, team)
        rise = RiseSage(RiseConfig(dim, dim, tags, hidden=32, dim=16, input_dropout=0.0, dropout=0.0))
        rise.get_buffer("axes").copy_(torch.eye(dim))
    config = RiseObjectiveConfig(fan_outs=(200, 200), batch_size=32)
    return GraphRiseObjective(rise, graph, features, how.weights, config, team)


@pytest.mark.parametrize("kind", PRESETS)
@pytest.mark.parametrize("parts", [2, 3])
def test_a_batch_in_parts_has_the_loss_of_the_whole_batch(kind: str, parts: int, tmp_path: Path) -> None:
    curves = []
    for team in (Team(), Team(parts)):
        settings = TrainerSettings(max_epochs=3, patience=None, learning_rate=1e-2)
        result = Trainer(objective(kind, team), tmp_path / str(team.parts), settings, team=team).run()
        curves.append([line["loss"] for line in result.history])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)


def test_a_training_in_parts_goes_on_where_it_was_interrupted(catalogue: DataDir, tmp_path: Path) -> None:
    whole, cut = copy_of(catalogue, tmp_path / "whole"), copy_of(catalogue, tmp_path / "cut")
    train(whole, "paper", epochs=3, team=Team(parts=2))
    train(cut, "paper", epochs=1, team=Team(parts=2))
    train(cut, "paper", epochs=3, team=Team(parts=2), resume=True)
    assert history(cut, "paper") == history(whole, "paper")
    with pytest.raises(BadInput, match="another configuration"):
        train(cut, "paper", epochs=3, resume=True)


def test_a_preset_that_is_solved_for_is_no_work_for_several(catalogue: DataDir, tmp_path: Path) -> None:
    data_dir = copy_of(catalogue, tmp_path / "data")
    with pytest.raises(BadInput, match="one process"):
        train(data_dir, "default", team=Team(parts=2))
    assert not (data_dir.models_dir / "default" / MODEL).exists()
