"""What attaching a new picture costs beyond the search for its neighbours, and what sampling would cost.

    python -m benchmarks.attachment --data D [--preset NAME] [--pictures 300]

New pictures are those of the catalogue's split `test`, or else stored ones with some noise, one after the
other. Timed are the search for `similar` images alone, the whole attachment as the service makes it, and its
stages. Beside that the same embedding is computed without stored states: the whole neighbourhood, no fan-out
cut, is extracted by the repository's own sampler, the model's layers run on it, and the result is asserted to
be the same to 1e-5. `reading the arrays` reads, right after a search, what a picture needs of the model's
matrices and does nothing else with them: nothing that uses all of them can be faster on that machine then.

The 10th percentile says what the machine does where nothing else runs on it.

Measured on one thread, as the service has it, and on as many as the libraries take by themselves. Without
--preset the current snapshot's model is measured; a preset that is trained but not served is indexed in
memory first. Nothing is written.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gnn.attach import attach, inputs_of
from gnn.embedding import as_tensor
from gnn.graph_data import load_graph_data
from gnn.graph_index import GraphIndex, messages_of, open_index
from gnn.last_trained import trained_directory
from gnn.model.base import GraphModel
from gnn.model.kernel_sage import KernelSage
from gnn.model.minibatch import batch_states
from gnn.model.sage import HeteroSage, NodeLayer
from gnn.query import Query, QueryEngine
from gnn.reindex import build_index
from gnn.sampling.blocks import BlockSampler
from gnn.trained_model import load_trained_model, tag_numbers
from graph_store.arrays import Float32Array, Int64Array
from graph_store.catalog import Catalog
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.similar import NeighbourIndex
from graph_store.snapshot import Snapshot

STAGES = ("projection", "search", "weights and gathering", "layers", "readout")
TOLERANCE = 1e-5
_WARM_UP = 20
_SAMPLED = 60
"""So many pictures are enough to time what takes milliseconds."""

Times = dict[str, list[float]]
"""Seconds by what took them."""


def index_of(data_dir: DataDir, preset: str | None) -> GraphIndex:
    """The snapshot's, where the preset is its model's; else made in memory."""
    index = open_index(Snapshot.open(data_dir, verify=False))
    if preset is None or index.trained.preset.name == preset:
        return index
    trained = load_trained_model(trained_directory(data_dir, preset))
    return build_index(trained, load_graph_data(data_dir))


def new_pictures(data_dir: DataDir, index: GraphIndex, count: int) -> Float32Array:
    """[count, feature_dim] unit norm: held out, or stored ones with some noise where none are."""
    rng = np.random.default_rng(3)
    with Catalog.open(data_dir.catalog_path) as catalog:
        held_out = [record.row for record in catalog.records("test")]
    if len(held_out) >= count:
        spec = index.trained.encoder
        table = FeatureFile.open(data_dir.features_dir, spec.slug, spec.dim).view()
        pictures = np.array(table[rng.choice(held_out, count, replace=False)])
    else:
        pictures = np.array(index.features[rng.integers(0, len(index.ids), count)])
        pictures += 0.005 * rng.standard_normal(pictures.shape, dtype=np.float32)
    unit: Float32Array = pictures / np.linalg.norm(pictures, axis=1, keepdims=True)
    return unit


def arrays_read(model: GraphModel) -> list[Float32Array]:
    """The matrices that each picture is multiplied with."""
    if isinstance(model, KernelSage):
        tensors = [model.get_buffer(name) for name in ("axes", "vote_axes", "landmarks", "values")]
        if model.namer is not None and model.config.named_view:
            read = ("inner", "second", "outer") if model.namer.deep else ("inner", "outer")
            tensors += [model.namer.get_buffer(name) for name in read]
        if model.likely is not None and model.config.named_view:
            tensors += [model.likely.get_buffer("vectors")]
    else:
        assert isinstance(model, HeteroSage)
        layers = [layer for layer in model.image_layers if isinstance(layer, NodeLayer)]
        tensors = [each.weight.detach() for layer in layers for each in (layer.own, layer.first)]
    return [tensor.numpy().reshape(-1) for tensor in tensors]


class TimedNeighbours(NeighbourIndex):
    """The same index; says how long its last search took."""

    seconds = 0.0

    def __init__(self, neighbours: NeighbourIndex) -> None:
        vars(self).update(vars(neighbours))

    def search(
        self, queries: Float32Array, k: int, threshold: float, allowed: Int64Array | None = None
    ) -> tuple[Int64Array, Float32Array]:
        start = time.perf_counter()
        found = super().search(queries, k, threshold, allowed)
        self.seconds = time.perf_counter() - start
        return found


class Sampling:
    """Attaching without stored states: the neighbours' own states are computed from what lies around them."""

    def __init__(self, index: GraphIndex) -> None:
        self._index = index
        self._model = index.trained.model
        numbers = tag_numbers(index.trained, index.tag_names)
        if not np.array_equal(numbers, np.arange(len(numbers))):
            raise SystemExit("The model was trained on other tags: train it again to measure this.")
        graph = messages_of(index.trained, index.graph)
        whole = max(int(each.degrees().max()) for each in (graph.similar, graph.tags_of_image))
        hops = self._model.num_layers - 1
        self._sampler = BlockSampler(graph, (max(whole, 1),) * hops, compact_images=True)
        self._features, self._text = as_tensor(index.features), as_tensor(index.tag_text)
        self._tag_states = [np.asarray(states) for states in index.states.tag_states]

    @torch.inference_mode()
    def embedding(self, features: Float32Array, similar: Int64Array, weights: Float32Array) -> Float32Array:
        """[dim] of features [feature_dim] with these `similar` images and message weights, both [n]."""
        rng = np.random.default_rng(0)  # nothing is left to chance where all neighbours are taken
        batch = self._sampler.sample(similar, np.zeros(0, np.int64), rng)
        around = batch_states(self._model, batch, self._features, self._text)
        edges = Csr.from_rows([len(similar)], np.arange(len(similar)), weights)
        states = attach(
            self._model,
            inputs_of(self._model, features[np.newaxis]),
            edges,
            Csr.empty(1),
            [state.numpy() for state in around.images],
            self._tag_states,
        )
        result: Float32Array = self._model.embed_images(states)[0].numpy()
        return result


def measure(index: GraphIndex, pictures: Float32Array) -> tuple[Times, int]:
    """The times of each picture, and how many bytes `reading the arrays` reads."""
    neighbours = TimedNeighbours(index.neighbours)
    engine = QueryEngine(replace(index, neighbours=neighbours))
    alone, how = engine.alone, index.trained.preset.graph
    if alone is None:
        raise SystemExit(f"Preset {index.trained.preset.name!r} has only the general way of attaching.")
    sampling, arrays = Sampling(index), arrays_read(index.trained.model)
    names = (*STAGES, "whole", "beyond the search", "sampling and model", "reading the arrays")
    times: Times = {name: [] for name in names}
    clock = time.perf_counter

    def search(vectors: Float32Array) -> tuple[Int64Array, Float32Array]:
        return neighbours.search(vectors, how.neighbours, how.threshold)

    for number, features in enumerate(pictures):
        query = Query(images=features[np.newaxis])
        start = clock()
        told = engine.embed(query)
        whole = clock() - start
        beyond = whole - neighbours.seconds
        # The same in stages.
        marks = [clock()]
        inputs = alone.model.inputs(features)
        vectors = alone.searched(inputs, features)
        marks.append(clock())
        found = search(vectors)
        marks.append(clock())
        rows, weights = alone.weighed(*found)
        messages = alone.model.messages(rows, weights)
        marks.append(clock())
        state = alone.model.layers(inputs, messages)
        marks.append(clock())
        embedding = alone.model.embedding(state)
        again = alone.read(embedding, rows, weights)
        marks.append(clock())
        np.testing.assert_allclose(again.conceptual, told.conceptual, atol=TOLERANCE)
        search(vectors)
        start = clock()
        for array in arrays:
            array @ array
        reading = clock() - start
        if number < _WARM_UP:
            continue
        stages = np.diff(marks)
        for name, seconds in zip(STAGES, stages.tolist(), strict=True):
            times[name].append(seconds)
        times["whole"].append(whole)
        times["beyond the search"].append(beyond)
        times["reading the arrays"].append(reading)
    for features in pictures[: _SAMPLED + _WARM_UP]:
        inputs = alone.model.inputs(features)
        rows, weights = alone.weighed(*search(alone.searched(inputs, features)))
        start = clock()
        sampled = sampling.embedding(features, rows, weights)
        times["sampling and model"].append(clock() - start)
        stored = alone.model.embedding(alone.model.layers(inputs, alone.model.messages(rows, weights)))
        np.testing.assert_allclose(stored, sampled, atol=TOLERANCE)
    del times["sampling and model"][:_WARM_UP]
    return times, sum(array.nbytes for array in arrays)


def table(times: Times, read: int) -> str:
    """Markdown lines."""
    order = (
        ("search", "the search for neighbours alone"),
        ("whole", "the whole attachment"),
        ("beyond the search", "**beyond the search**"),
        ("projection", "of that: projection"),
        ("weights and gathering", "of that: weights, and gathering the neighbours' states"),
        ("layers", "of that: layers"),
        ("readout", "of that: readout"),
        ("reading the arrays", f"reading the arrays ({read / 1e6:.1f} MB) and nothing else"),
        ("sampling and model", "sampling the neighbourhood and running the model, beyond the search"),
    )
    lines = ["| milliseconds | 10th percentile | median | 95th percentile |", "|---|---|---|---|"]
    for name, label in order:
        low, median, high = (1000 * float(np.percentile(times[name], at)) for at in (10, 50, 95))
        lines.append(f"| {label} | {low:.3f} | {median:.3f} | {high:.3f} |")
    for name, at in (("10th percentile", 10), ("median", 50)):
        one = {name: float(np.percentile(values, at)) for name, values in times.items()}
        ratio = one["sampling and model"] / one["beyond the search"]
        speed = read / one["reading the arrays"] / 1e9
        lines += ["", f"{name}: ratio {ratio:.1f}; the arrays were read at {speed:.0f} GB/s"]
    return "\n".join(lines)


def main() -> None:
    """Measure once for each number of threads, in a process of its own: the libraries read it when loaded."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--preset")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not asked.here:
        for threads in ("1", ""):
            environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
            if threads:
                environment["OMP_NUM_THREADS"] = threads
            command = [sys.executable, "-m", "benchmarks.attachment", *sys.argv[1:], "--here"]
            subprocess.run(command, env=environment, check=True)
        return
    data_dir = DataDir(asked.data)
    index = index_of(data_dir, asked.preset)
    model, threads = index.trained.model, torch.get_num_threads()
    landmarks = f", {model.config.num_landmarks:,} landmarks" if isinstance(model, KernelSage) else ""
    print(f"{len(index.ids):,} images, preset `{index.trained.preset.name}`{landmarks}, {threads} threads\n")
    print(table(*measure(index, new_pictures(data_dir, index, asked.pictures))), flush=True)
    print()


if __name__ == "__main__":
    main()
