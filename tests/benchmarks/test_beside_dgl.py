"""The comparison with DGL, as far as it can be tested without DGL."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.beside_dgl.__main__ import Side, material_of
from benchmarks.beside_dgl.ours import Ours, graph_of
from benchmarks.beside_dgl.table import best_ways, rate, table
from benchmarks.beside_dgl.task import RELATIONS, Batches, Material, Task, Timed, load, save, timed

SMALL = Task(images=300, tags=5_000, similar=4, features=16, tag_dim=8, hidden=8, batch=128, threads=1)


@pytest.fixture(scope="module")
def material() -> Material:
    return material_of(SMALL)


def test_both_sides_read_the_graph_that_was_made(material: Material, tmp_path: Path) -> None:
    save(tmp_path, material)
    read = load(tmp_path)
    assert read.task == SMALL
    assert np.array_equal(read.features, material.features)
    assert np.array_equal(read.order, material.order)
    for name, _, _ in RELATIONS:
        for before, after in zip(material.relations[name], read.relations[name], strict=True):
            assert np.array_equal(before, after)
    assert read.weights.keys() == material.weights.keys()
    assert all(np.array_equal(read.weights[name], values) for name, values in material.weights.items())


def test_our_side_computes_the_formula_that_it_is_compared_by(material: Material) -> None:
    """Means over each relation, a receiver's own state, ReLU between the layers: written out in NumPy."""
    weights = material.weights
    graph = graph_of(material)

    def mean(name: str, states: np.ndarray) -> np.ndarray:
        csr = getattr(graph, name)
        sums = np.zeros((csr.num_rows, states.shape[1]))
        np.add.at(sums, csr.edge_rows(), states[csr.indices])
        return sums / np.maximum(csr.degrees(), 1)[:, None]

    def layer(kind: str, number: int, own: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        parts = zip(("own", "first", "second"), (own, first, second), strict=True)
        of = f"{kind}_layers.{number}"
        return sum(each @ weights[f"{of}.{part}.weight"].T for part, each in parts) + weights[f"{of}.bias"]

    images, tags = material.features.astype(np.float64), weights["tag_table.weight"].astype(np.float64)
    for number in range(2):
        above = layer("image", number, images, mean("similar", images), mean("tags_of_image", tags))
        tags = layer("tag", number, tags, mean("images_of_tag", images), mean("related", tags))
        images = above
        if number == 0:
            images, tags = np.maximum(images, 0), np.maximum(tags, 0)
    expected = images / np.linalg.norm(images, axis=1, keepdims=True)
    assert np.abs(Ours(material).embed().embeddings - expected).max() < 1e-5


def test_our_side_does_what_it_counts(material: Material) -> None:
    side = Ours(material)
    assert [units for units, _ in islice(side.step(), 3)] == [SMALL.batch] * 3  # more than an epoch
    (_, edges), (_, more) = islice(side.sample(), 2)
    degrees = side.graph.similar.degrees(), side.graph.tags_of_image.degrees()
    first = material.order[: SMALL.batch]
    assert edges > sum(np.minimum(each[first], SMALL.fan_outs[0]).sum() for each in degrees)
    assert more > 0
    assert next(side.step("concat", 0.2))[0] == SMALL.batch
    assert next(side.infer()) == (SMALL.images + SMALL.tags, 0)


# It prints where answers go, as libraries do.
FAKE = """
import numpy as np
from benchmarks.beside_dgl.task import serve

def batches():
    while True:
        print("chatter")
        yield 5, 30

serve({("step", "plain"): batches}, lambda: np.ones((2, 3), np.float32))
"""


def test_a_side_takes_turns_and_ends_with_its_input(tmp_path: Path) -> None:
    with Side([sys.executable, "-c", FAKE], 1, tmp_path / "all.npy") as side:
        assert side.ways == [("step", "plain")]
        assert np.load(tmp_path / "all.npy", allow_pickle=False).shape == (2, 3)
        for _ in range(2):
            turn = side.turn("step", "plain", 0.01)
            assert turn.seconds >= 0.01 and turn.edges == 6 * turn.units > 0
    assert side.process.returncode == 0


def test_a_side_that_breaks_off_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        Side([sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)"], 1, tmp_path / "all.npy")


def test_a_turn_counts_whole_batches_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("benchmarks.beside_dgl.task.time.perf_counter", lambda: now)

    def batches() -> Batches:
        nonlocal now
        while True:
            now += 0.5
            yield 10, 70

    assert timed(batches(), seconds=1.2, warm_up=3) == Timed(units=30, edges=210, seconds=1.5)


def test_rates_are_medians_and_ratios_are_ours_to_theirs() -> None:
    fast, slow = Timed(600, 6000, 2.0), Timed(100, 1000, 1.0)
    assert rate([fast, slow, slow]) == 100
    assert rate([fast, fast, slow], edges=True) == 3000
    ours = {what: [fast, fast, slow] for what in ("sample", "step", "step, preset paper", "infer")}
    theirs = {what: [slow] for what in ("sample", "step", "step, one kind of node", "infer")}
    lines = table("5 similar", ours, theirs, dict.fromkeys(theirs, "no worker")).splitlines()
    assert lines[0] == "| 5 similar | imsage | DGL | ratio | DGL with |"
    assert lines[2] == "| sampling alone, edges/s | 3,000 | 1,000 | 3.00 | no worker |"
    assert lines[5] == "| **training, seeds/s** | 300 | 100 | 3.00 | no worker |"


def test_dgl_is_given_its_quickest_way() -> None:
    scouted = {
        ("step", "no worker"): Timed(100, 0, 1.0),
        ("step", "GraphBolt"): Timed(300, 0, 2.0),
        ("infer", "whole graph"): Timed(10, 0, 1.0),
    }
    assert best_ways(scouted) == {"step": "GraphBolt", "infer": "whole graph"}
