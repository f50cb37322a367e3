"""Where the time goes, beside what this machine could do at most: memory bandwidth and matrix products.

python -m benchmarks.limits --data D

D: a data directory with a snapshot of preset `default`. The limits are measured first, on as many threads as
torch takes, and flat search, which answers one question on one thread, beside one thread's bandwidth.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from gnn.embedding import embed_graph
from gnn.graph_index import GraphIndex, messages_of, open_index
from gnn.trained_model import tag_numbers
from graph_store.data_dir import DataDir
from graph_store.faiss_api import faiss
from graph_store.faiss_index import FaissIndex
from graph_store.snapshot import Snapshot

_READ_GIB, _SIDE, _AGAIN, _QUESTIONS, _SHOWN = 1, 4096, 5, 60, 12


def bandwidth(threads: int) -> float:
    """GB/s of summing an array that no cache holds."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x = torch.ones(_READ_GIB * 2**28)
    seconds = quickest(x.sum)
    torch.set_num_threads(before)
    return x.numel() * 4 / seconds / 1e9


def products() -> float:
    """GFLOP/s of a product of large float32 matrices."""
    left, right = torch.rand(2, _SIDE, _SIDE)
    return 2 * _SIDE**3 / quickest(lambda: left @ right) / 1e9


def quickest(work: Callable[[], object]) -> float:
    """Seconds, the least of a few."""
    took = []
    for _ in range(_AGAIN):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def flat_search(index: GraphIndex) -> tuple[float, float]:
    """Median milliseconds of one exact search on one thread, and the GB/s at which it reads the vectors."""
    vectors = np.ascontiguousarray(index.states.embeddings)
    flat = FaissIndex.build(vectors, "flat")
    faiss.omp_set_num_threads(1)
    took = []
    for row in np.linspace(0, len(vectors) - 1, _QUESTIONS).astype(np.int64):
        began = time.perf_counter()
        flat.nearest(vectors[row], 20)
        took.append(time.perf_counter() - began)
    faiss.omp_set_num_threads(torch.get_num_threads())
    seconds = statistics.median(took)
    return 1000 * seconds, vectors.nbytes / seconds / 1e9


def embedding(index: GraphIndex) -> tuple[float, float, str]:
    """Seconds of embedding all nodes, GFLOP/s of its matrix products, and a table of its operations."""
    trained = index.trained
    work = (
        trained.model,
        messages_of(trained, index.graph),
        np.asarray(index.features),
        index.tag_text,
        tag_numbers(trained, index.tag_names),
    )
    with FlopCounterMode(display=False) as counter:
        embed_graph(*work)
    began = time.perf_counter()
    embed_graph(*work)
    seconds = time.perf_counter() - began
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        embed_graph(*work)
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    rows = [
        f"| `{event.key}` | {event.self_cpu_time_total / total:.1%} | {event.count:,} |"
        for event in events[:_SHOWN]
    ]
    table = "\n".join(["| operation | share of the time | calls |", "|---|---|---|", *rows])
    return seconds, counter.get_total_flops() / seconds / 1e9, table


def main() -> None:
    """Print the limits, what is reached of them, and where embedding spends its time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    index = open_index(Snapshot.open(DataDir(parser.parse_args().data), verify=False))
    threads = torch.get_num_threads()
    one, all_threads, most = bandwidth(1), bandwidth(threads), products()
    milliseconds, read = flat_search(index)
    seconds, done, table = embedding(index)
    num, dim = index.states.embeddings.shape
    print(f"{num:,} images, vectors of {dim}; {threads} threads")
    print("\n| | reached | at most | share |\n|---|---|---|---|")
    print(f"| memory, one thread | | {one:.1f} GB/s | |")
    print(f"| memory, {threads} threads | | {all_threads:.1f} GB/s | |")
    print(f"| flat search, {milliseconds:.2f} ms | {read:.1f} GB/s | {one:.1f} GB/s | {read / one:.0%} |")
    print(f"| embedding, {seconds:.2f} s | {done:.0f} GFLOP/s | {most:.0f} GFLOP/s | {done / most:.0%} |")
    print(f"\nEmbedding all nodes, by the operation that the time is spent in:\n\n{table}")


if __name__ == "__main__":
    main()
