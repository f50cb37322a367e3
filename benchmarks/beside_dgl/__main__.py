"""Sampling, training and embedding beside DGL: one graph, one model, in turns, in the same run.

    python -m benchmarks.beside_dgl [--similar 5 20] [--threads 2] [--dgl-python PATH]

100,000 images with 512 features, 5,000 tags, 8 tags an image, batch 512, fan-out 25 then 10 of each of four
relations, two layers of GraphSAGE with means and hidden width 128. The graph is generated and saved; each
side reads it in a process of its own, with the same number of threads and in the same order of seeds. Before
anything is timed, both embed every image with the same weights, and must agree: so it is the same function
that is timed. A training step is sampling, feature look-up, forward, backward and Adam.

DGL is tried in every way that its guide knows (worker processes or none, the fused sampler or not, GraphBolt;
the whole graph at once or layer by layer), and the quickest way for each row takes its turns with ours.
Without --dgl-python, DGL 2.1 and the PyTorch that it was built for are installed into an environment below
the cache folder once; that takes 5 GB and Python 3.11 or 3.12.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.beside_dgl.table import best_ways, table
from benchmarks.beside_dgl.task import RELATIONS, Material, Task, Timed, Turn, load, save
from benchmarks.sampler_throughput import FEATURES, TAGS, generated_graph
from gnn.model.edge_weights import MessageWeights, message_graph
from gnn.model.sage import HeteroSage, SageConfig

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "dgl==2.1.0",
    # What DGL 2.1.0 has libraries for; the others are what it imports without saying so.
    "torch==2.2.1",
    "torchdata==0.7.1",
    "numpy==1.26.4",
    "pandas==2.2.3",
    "pydantic==2.10.6",
    "pyyaml==6.0.2",
)
_SAME = 1e-4
"""Unit vectors of two libraries differ by less than this in every number when the function is the same."""


def material_of(task: Task, seed: int = 0) -> Material:
    """The graph of `sampler_throughput.py`, degrees capped as for training, and a model's first weights."""
    rng = np.random.default_rng(seed)
    graph = message_graph(generated_graph(task.images, task.similar, rng), MessageWeights())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = HeteroSage(
            SageConfig(task.features, 0, task.tags, task.tag_dim, task.hidden, combine="sum", dropout=0.0)
        )
    rows = {name: getattr(graph, name) for name, _, _ in RELATIONS}
    return Material(
        task,
        {name: (csr.indptr, csr.indices) for name, csr in rows.items()},
        rng.standard_normal((task.images, task.features), dtype=np.float32),
        rng.permutation(task.images),
        {name: values.numpy() for name, values in model.state_dict().items()},
    )


class Side:
    """One library's process. ``embeddings``: where it writes those of all images, before its first turn."""

    def __init__(self, command: Sequence[str], threads: int, embeddings: Path) -> None:
        self.command = " ".join(command)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)},
        )
        self.ways = [(what, way) for what, way in self._answered(str(embeddings))]

    def turn(self, what: str, way: str, seconds: float) -> Timed:
        return Timed(**self._answered(json.dumps(asdict(Turn(what, way, seconds)))))

    def _answered(self, line: str) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended, which the empty answer says as well
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.process.communicate()
            raise SystemExit(f"{self.command} ended with {self.process.returncode}")
        return json.loads(answer)

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # ends its input, which ends it


def measure(folder: Path, dgl_python: str, title: str, seconds: float, rounds: int) -> str:
    """The table of one saved graph."""
    threads = load(folder).task.threads
    embedded = folder / "ours.npy", folder / "theirs.npy"
    with (
        Side(_command(sys.executable, "ours", folder), threads, embedded[0]) as ours,
        Side(_command(dgl_python, "theirs", folder), threads, embedded[1]) as theirs,
    ):
        one, other = (np.load(path, allow_pickle=False) for path in embedded)
        apart = float(np.abs(one - other).max())
        if not apart < _SAME:
            raise SystemExit(f"the two sides compute different functions: {apart} apart")
        print(f"{title}: the embeddings of all images agree to {apart:.0e}", file=sys.stderr, flush=True)
        scouted = {}
        for what, way in theirs.ways:
            scouted[what, way] = theirs.turn(what, way, seconds / 2)
            done = scouted[what, way].units / scouted[what, way].seconds
            print(f"  DGL, {what}, {way}: {done:,.0f} a second", file=sys.stderr, flush=True)
        ways = best_ways(scouted)
        taken: tuple[dict[str, list[Timed]], dict[str, list[Timed]]] = {}, {}
        plans = (ours, dict(ours.ways)), (theirs, ways)
        for number in range(rounds):
            for what in dict.fromkeys([*plans[0][1], *plans[1][1]]):
                # Who begins alternates, so that a machine that slows down slows both.
                for place in (0, 1) if number % 2 == 0 else (1, 0):
                    side, planned = plans[place]
                    if what in planned:
                        taken[place].setdefault(what, []).append(side.turn(what, planned[what], seconds))
    return table(title, *taken, ways)


def _command(python: str, module: str, folder: Path) -> list[str]:
    return [python, "-m", f"benchmarks.beside_dgl.{module}", str(folder)]


def environment(cache: Path) -> str:
    """The Python of DGL's environment, which is made when it is not there."""
    python = cache / "venv" / "bin" / "python"
    if not (cache / "venv" / ".installed").exists():
        if sys.version_info >= (3, 13):
            raise SystemExit("DGL 2.1 needs Python 3.12 at most: name one that has it with --dgl-python")
        subprocess.run([sys.executable, "-m", "venv", cache / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (cache / "venv" / ".installed").touch()
    return str(python.absolute())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path("build/bench/dgl"), help="where DGL is installed")
    parser.add_argument("--dgl-python", help="an interpreter that has DGL already")
    parser.add_argument("--similar", type=int, nargs="+", default=[5, 20], help="similar images an image")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each side")
    parser.add_argument("--seconds", type=float, default=3.0, help="a turn lasts at least")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    python = options.dgl_python or environment(options.cache)
    tables = []
    for similar in options.similar:
        task = Task(options.images, TAGS, similar, FEATURES, threads=options.threads)
        with tempfile.TemporaryDirectory() as made:
            save(Path(made), material_of(task))
            title = f"{similar} similar images each"
            tables.append(measure(Path(made), python, title, options.seconds, options.rounds))
    print(f"{options.images:,} images, {options.threads} threads, load {os.getloadavg()[0]:.1f}")
    for each in tables:
        print(f"\n{each}")


if __name__ == "__main__":
    main()
