"""What both sides are given, and how both are timed. Needs NumPy only: it is read by two environments.

A task is a folder of arrays: the four relations in compressed sparse rows (the row receives), the images'
features, the order in which images are seeds, and the weights that both models start from. A side is a
process that reads one line of JSON for each turn (:class:`Turn`) and answers with one (:class:`Timed`), so
the sides can take turns without loading anything again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

RELATIONS = (
    ("similar", "image", "image"),
    ("tags_of_image", "tag", "image"),
    ("images_of_tag", "image", "tag"),
    ("related", "tag", "tag"),
)
"""Name, sender, receiver: as in :class:`graph_store.graph.Graph`."""

Batches = Iterator[tuple[int, int]]
"""Does one batch each time it is asked for the next: seeds or nodes done, and edges sampled."""


@dataclass(frozen=True)
class Task:
    """Sizes of the graph and of the model; ``fan_outs`` are counted from the seeds."""

    images: int = 100_000
    tags: int = 5_000
    similar: int = 5
    features: int = 512
    tag_dim: int = 128
    hidden: int = 128
    batch: int = 512
    fan_outs: tuple[int, int] = (25, 10)
    threads: int = 2


@dataclass(frozen=True, eq=False)
class Material:
    """``relations``: name → (indptr [rows + 1], indices [edges]), int64. ``features`` [images, features]
    float32. ``order`` [images] int64. ``weights``: name in our model's state → float32.
    """

    task: Task
    relations: Mapping[str, tuple[Any, Any]]
    features: Any
    order: Any
    weights: Mapping[str, Any]

    def batch_of_seeds(self) -> Iterator[Any]:
        """[batch] int64 each, epoch after epoch; what is left over at the end of an epoch is left out."""
        size = self.task.batch
        while True:
            for start in range(0, len(self.order) - size + 1, size):
                yield self.order[start : start + size]


def save(folder: Path, material: Material) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (indptr, indices) in material.relations.items():
        np.save(folder / f"{name}.indptr.npy", indptr)
        np.save(folder / f"{name}.indices.npy", indices)
    np.save(folder / "features.npy", material.features)
    np.save(folder / "order.npy", material.order)
    for name, values in material.weights.items():
        np.save(folder / f"weights.{name}.npy", values)
    written = {**asdict(material.task), "weights": sorted(material.weights)}
    (folder / "task.json").write_text(json.dumps(written), encoding="utf-8")


def load(folder: Path) -> Material:
    def array(name: str) -> Any:
        return np.load(folder / f"{name}.npy", allow_pickle=False)

    written = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    weights = {name: array(f"weights.{name}") for name in written.pop("weights")}
    task = Task(**{**written, "fan_outs": tuple(written["fan_outs"])})
    relations = {name: (array(f"{name}.indptr"), array(f"{name}.indices")) for name, _, _ in RELATIONS}
    return Material(task, relations, array("features"), array("order"), weights)


@dataclass(frozen=True)
class Turn:
    """``what`` is measured, ``way``: one of the side's ways of doing it. Lasts at least ``seconds``."""

    what: str
    way: str
    seconds: float


@dataclass(frozen=True)
class Timed:
    """What was done in one turn; ``units`` are seeds, or nodes where all are embedded."""

    units: int
    edges: int
    seconds: float


def timed(batches: Batches, seconds: float, warm_up: int) -> Timed:
    """Leaves the first ``warm_up`` batches out; counts whole batches until the seconds are over."""
    for _ in range(warm_up):
        next(batches)
    units = edges = 0
    start = time.perf_counter()
    while True:
        more_units, more_edges = next(batches)
        units += more_units
        edges += more_edges
        spent = time.perf_counter() - start
        if spent >= seconds:
            return Timed(units, edges, spent)


def serve(ways: Mapping[tuple[str, str], Callable[[], Batches]], embeddings: Callable[[], Any]) -> None:
    """Answer turns until the input ends. First the embeddings [images, hidden] of all images are written
    to where the first line says, for the two sides to be compared.
    """
    # Answers have a descriptor of their own: libraries print to standard output when they please.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    np.save(Path(sys.stdin.readline().strip()), embeddings())
    print(json.dumps([list(way) for way in ways]), file=answers, flush=True)
    for line in sys.stdin:
        turn = Turn(**json.loads(line))
        batches = ways[turn.what, turn.way]()
        try:
            result = timed(batches, turn.seconds, warm_up=1 if turn.what == "infer" else 3)
        finally:
            batches.close()  # type: ignore[attr-defined]  # they are generators: a loader's workers end here
        print(json.dumps(asdict(result)), file=answers, flush=True)
