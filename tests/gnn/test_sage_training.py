"""Preset `paper`: the published recipe, and that it trains and resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from gnn.checkpoint import load_checkpoint, strip_prefix
from gnn.graph_data import GraphData
from gnn.model.sage import HeteroSage
from gnn.objectives.random_walk import RandomWalkConfig
from gnn.presets import PAPER
from graph_store.errors import BadInput, CorruptFile
from tests.gnn.interruption import StopAfter
from tests.gnn.worlds import drawn_data, trained

EPOCHS = 4


@pytest.fixture(scope="module")
def data() -> GraphData:
    return drawn_data()


@pytest.fixture(scope="module")
def whole(data: GraphData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    trained(data, folder, "paper", epochs=EPOCHS).save(folder)
    return folder


def test_the_graph_is_the_papers() -> None:
    graph, weights = PAPER.graph, PAPER.weights
    assert (graph.neighbours, graph.threshold, graph.space, graph.related) == (5, 0.65, "raw", 0)
    # The paper's tags have no weights; with weights of 1 a proportional mean is its mean.
    assert (weights.similar, weights.tags, weights.images) == ("uniform", "proportional", "uniform")
    assert weights.max_degree == 100


def test_the_sampling_is_the_papers() -> None:
    config = RandomWalkConfig()
    assert (config.fan_outs, config.negatives, config.batch_size) == ((25, 10), 20, 512)
    assert config.max_degree == 100


def test_the_model_is_the_papers(data: GraphData, tmp_path: Path) -> None:
    model = trained(data, tmp_path, "paper", epochs=1).model
    assert isinstance(model, HeteroSage)
    config = model.config
    assert (config.num_layers, config.hidden, config.combine, config.dropout) == (2, 128, "concat", 0.2)
    assert config.text_dim == 0  # tag nodes start from random vectors
    assert model.dim == 256


def test_the_optimiser_runs_as_the_papers(whole: Path) -> None:
    assert (PAPER.epochs, PAPER.learning_rate, PAPER.patience) == (50, 1e-5, None)
    identity = load_checkpoint(whole / "checkpoint.safetensors").meta["identity"]
    assert (identity["learning_rate"], identity["optimizer"]) == (1e-5, "adam")
    assert (identity["schedule"], identity["weight_decay"], identity["clip_norm"]) == ("constant", 0.0, None)


def newest(folder: Path) -> dict[str, Tensor]:
    """The weights after the last epoch; the model that is kept is that of the best one."""
    return strip_prefix("now/", load_checkpoint(folder / "checkpoint.safetensors").tensors)


def test_later_epochs_move_every_matrix_that_receives_messages(
    data: GraphData, whole: Path, tmp_path: Path
) -> None:
    trained(data, tmp_path, "paper", epochs=1)
    first, last = newest(tmp_path), newest(whole)
    still = {name for name, tensor in first.items() if tensor.equal(last[name])}
    # The paper has no `related` edges, so their matrices never receive anything.
    assert still == {"tag_layers.0.second.weight", "tag_layers.1.second.weight"}


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_run_resumes_to_the_same_model(
    data: GraphData, whole: Path, tmp_path: Path, after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(data, tmp_path, "paper", epochs=EPOCHS, progress=StopAfter(after))
    trained(data, tmp_path, "paper", epochs=EPOCHS, resume=True).save(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    expected = newest(whole)
    assert all(tensor.equal(expected[name]) for name, tensor in newest(tmp_path).items())
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == EPOCHS


def test_resuming_on_another_catalogue_is_refused(data: GraphData, tmp_path: Path) -> None:
    trained(data, tmp_path, "paper", epochs=1)
    with pytest.raises(BadInput, match="another configuration"):
        trained(drawn_data(seed=1, num=150), tmp_path, "paper", epochs=2, resume=True)


def test_resuming_from_a_damaged_checkpoint_names_it(data: GraphData, tmp_path: Path) -> None:
    trained(data, tmp_path, "paper", epochs=1)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match=r"checkpoint\.safetensors"):
        trained(data, tmp_path, "paper", epochs=2, resume=True)
