"""One step of the scale benchmark, in a process of its own so that its memory is its own.

python -m benchmarks.scale.steps STEP --data D --images N
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scale.catalogue import World, add_pictures, generate
from benchmarks.scale.meter import Meter, memory_kib
from benchmarks.serving import free_port, listening
from gnn.embedding import as_tensor
from gnn.encoders.registry import DEFAULT_IMAGE_ENCODER, image_encoder
from gnn.graph_index import open_index
from gnn.model.sage import HeteroSage, SageConfig
from gnn.objectives.random_walk import RandomWalkConfig, RandomWalkObjective
from gnn.query import Query, QueryEngine
from gnn.reindex import reindex
from gnn.training import train
from graph_store.arrays import Float32Array
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.faiss_api import faiss
from graph_store.features import FeatureFile
from graph_store.graph import Graph
from graph_store.snapshot import Snapshot

K, SHARE_NEW = 20, 0.01
_SAMPLE, _QUESTIONS, _REQUESTS, _STEPS = 1000, 200, 600, 30
_SAME = 1e-5

Figures = Mapping[str, Any]


def generated(data: DataDir, images: int) -> Figures:
    """The catalogue; not part of what is measured."""
    meter = Meter()
    generate(data, images)
    return meter.figures()


def trained(data: DataDir, images: int) -> Figures:
    """Preset `default`, whole."""
    del images
    meter = Meter()
    train(data, progress=meter)
    return meter.figures()


def indexed(data: DataDir, images: int) -> Figures:
    """A full reindex."""
    del images
    meter = Meter()
    snapshot = reindex(data, full=True, keep=1, progress=meter)
    size = sum(listed["size"] for listed in snapshot.manifest["files"].values())
    kind = snapshot.manifest["parameters"]["index"]["kind"]
    return {**meter.figures(), "snapshot_gib": round(size / 2**30, 2), "index": kind}


def recalled(data: DataDir, images: int) -> Figures:
    """How many of the true nearest the `similar` edges and the index find."""
    snapshot = Snapshot.open(data, verify=False)
    index = open_index(snapshot)
    rows = np.sort(np.random.default_rng(1).choice(images, min(_SAMPLE, images), replace=False))
    looks = index.trained.space(np.asarray(index.features))
    true, _ = faiss.knn(looks[rows], looks, K + 1, metric=faiss.METRIC_INNER_PRODUCT)
    least = true[:, -1:] - _SAME
    edges = [index.graph.similar.row(int(row))[1] for row in rows]
    found = sum(int((weights >= worst).sum()) for weights, worst in zip(edges, least, strict=True))
    del looks
    figures: dict[str, Any] = {"edges_recall": round(found / (K * len(rows)), 4)}
    embeddings = np.asarray(index.states.embeddings)
    engine = QueryEngine(index)
    # The engine's own, and not those of the sample by which the index was fitted.
    asked = {
        stop: np.stack([engine.embed(Query(indexed_row=int(row))).blend(stop) for row in rows[:_QUESTIONS]])
        for stop in (0.0, 0.5)
    }
    questions = {
        "stored": embeddings[rows[:_QUESTIONS]],
        "between": (embeddings[rows[:_QUESTIONS]] + embeddings[rows[-_QUESTIONS:]]) / 2,
        "middle": asked[0.5],
        "middle_between": (asked[0.5] + asked[0.5][::-1]) / 2,
        "concepts": asked[0.0],
        "concepts_between": (asked[0.0] + asked[0.0][::-1]) / 2,
    }
    for name, asked in questions.items():
        figures[f"index_recall_{name}"], figures[f"index_ms_{name}"] = _recall(index.index, embeddings, asked)
    return figures


def _recall(index: Any, vectors: Float32Array, asked: Float32Array) -> tuple[float, float]:
    """recall@20 and the median milliseconds of one search on one thread."""
    true, _ = faiss.knn(asked, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(1)
    took, found = [], 0
    for question, best in zip(asked, true, strict=True):
        began = time.perf_counter()
        scores = index.search(question[None], K).scores
        took.append(time.perf_counter() - began)
        found += int((scores >= best[-1] - _SAME).sum())
    return round(found / true.size, 4), round(1000 * statistics.median(took), 3)


def served(data: DataDir, images: int) -> Figures:
    """From the start of `imsage serve` to its first answer, and searches by id after that."""
    port = free_port()
    command = [sys.executable, "-m", "app", "serve", "--data", str(data.root), "--port", str(port)]
    began = time.perf_counter()
    with listening(command, port) as process:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        rng = np.random.default_rng(2)

        def ask() -> float:
            picture = {"id": f"{int(rng.integers(images)):07d}.jpg"}
            body = json.dumps({"image": picture, "limit": K})
            start = time.perf_counter()
            connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.client.OK:
                raise SystemExit(f"The server answered {answer.status}: {content.decode()}")
            return time.perf_counter() - start

        ask()
        first = time.perf_counter() - began
        took = sorted(ask() for _ in range(_REQUESTS))
        memory = memory_kib(process.pid)
    return {
        "first_answer_s": round(first, 2),
        "by_id_median_ms": round(1000 * took[len(took) // 2], 2),
        "by_id_p95_ms": round(1000 * took[int(0.95 * len(took))], 2),
        "serving_own_gib": round(memory["RssAnon"] / 2**20, 2),
        "serving_resident_gib": round(memory["VmRSS"] / 2**20, 2),
    }


def stepped(data: DataDir, images: int) -> Figures:
    """Steps of preset `paper` on the snapshot's graph; an epoch is one pass over the images."""
    del images
    meter = Meter()
    snapshot = Snapshot.open(data, verify=False)
    graph, text = Graph.load(snapshot.path("graph")), snapshot.array("tag_text")
    x = as_tensor(snapshot.array("features"))
    torch.manual_seed(0)
    model = HeteroSage(SageConfig(x.shape[1], text.shape[1], graph.num_tags))
    config = RandomWalkConfig()
    objective = RandomWalkObjective(model, graph, x, as_tensor(text), config)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    model.train()
    took = []
    for number in range(_STEPS + 1):
        # The last step of an epoch is short, and a small catalogue has few before it.
        epoch, step = divmod(number, max(1, objective.num_steps(0) - 1))
        began = time.perf_counter()
        optimizer.zero_grad()
        objective.loss(epoch, step).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        optimizer.step()
        took.append(time.perf_counter() - began)
    middle = statistics.median(took[1:])
    figures = meter.figures()
    return {
        "seeds_per_s": round(config.batch_size / middle),
        "epoch_s": round(objective.num_steps(0) * middle, 1),
        "peak_gib": figures["peak_gib"],
        "own_peak_gib": figures["own_peak_gib"],
    }


def grown(data: DataDir, images: int) -> Figures:
    """A reindex after 1 % new pictures."""
    spec = image_encoder(DEFAULT_IMAGE_ENCODER).spec
    count = max(1, round(SHARE_NEW * images))
    with Catalog.open(data.catalog_path) as catalog:
        first = catalog.next_row()
        features = FeatureFile.open(data.features_dir, spec.slug, spec.dim, create=True)
        add_pictures(catalog, features, World.drawn(spec.dim), first, count, seed=10**6)
    meter = Meter()
    snapshot = reindex(data, keep=2, progress=meter)
    return {
        **meter.figures(),
        "new": count,
        "embedded_anew": snapshot.manifest["parameters"]["embedded_anew"],
    }


def compared(data: DataDir, images: int) -> Figures:
    """What a full reindex makes of the same pictures: how far its embeddings are from those grown."""
    del images
    before = np.array(Snapshot.open(data, verify=False).array("embeddings"))
    meter = Meter()
    snapshot = reindex(data, full=True, keep=1, progress=meter)
    apart = np.abs(np.asarray(snapshot.array("embeddings")) - before).max(axis=1)
    return {
        **meter.figures(),
        "most_apart": float(f"{apart.max():.1e}"),
        "share_within_1e_4": round(float((apart <= 1e-4).mean()), 5),
    }


STEPS: Mapping[str, Callable[[DataDir, int], Figures]] = {
    "generate": generated,
    "train": trained,
    "reindex": indexed,
    "recall": recalled,
    "serve": served,
    "epoch": stepped,
    "grow": grown,
    "compare": compared,
}


def main() -> None:
    """Run one step and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("step", choices=list(STEPS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, required=True)
    asked = parser.parse_args()
    print(json.dumps(dict(STEPS[asked.step](DataDir(asked.data), asked.images))))


if __name__ == "__main__":
    main()
