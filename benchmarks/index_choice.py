"""What each kind of search index finds, how long it takes and how much memory, over generated vectors.

python -m benchmarks.index_choice
python -m benchmarks.index_choice --images 50000 --dim 784 --plot index_choice.png
python -m benchmarks.index_choice --data D [--learnt 6000]

Vectors lie in clusters, as those of `benchmarks.generated`; the questions are new ones from the same
clusters, and points between two of them. With `--data` they are the embeddings of a snapshot, and the
questions what the service asks with in the middle of the slider: for stored pictures, and points between
two of those. `--learnt` also trains hash codes for the snapshot's model, on so many of its images. usearch
and hnswlib are measured beside ours where they are installed, as wide as they need to find as much as our
HNSW; they are no dependencies of imsage.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.folds import rows_of
from benchmarks.generated import CLUSTERS
from gnn.graph_data import load_graph_data
from gnn.graph_index import open_index
from gnn.hashing.hashed_index import HashedIndex
from gnn.hashing.training import with_codes
from gnn.index_questions import index_questions
from gnn.query import Query, QueryEngine
from gnn.trained_model import load_trained_model
from gnn.training import learnt_aside
from graph_store.array_files import load_array, save_array
from graph_store.arrays import Float32Array, Int64Array
from graph_store.binary_index import BinaryIndex, Codes
from graph_store.data_dir import DataDir
from graph_store.exact import best_of, pair_scores, ranked
from graph_store.faiss_api import faiss
from graph_store.faiss_index import FaissIndex
from graph_store.ivfpq_index import IvfPqIndex
from graph_store.progress import SilentProgress
from graph_store.snapshot import Snapshot

K, QUERIES, RERANKED = 20, 400, 200
LINKS, EF_CONSTRUCTION = 32, 120
WIDTHS = (64, 128, 192, 256, 384, 512, 768, 1024)
OTHERS = ("usearch", "hnswlib")

Find = Callable[[Float32Array], Int64Array]
"""A query [dim] → the rows [20] that are found."""
Enough = Callable[[Find], bool]
"""Whether as much is found as by our HNSW."""
_LESS = 0.002


@dataclass(frozen=True)
class Measured:
    """One line: recall of the true 20 best, median milliseconds of one query on one thread, bytes an image
    beyond the mapped vectors, seconds to build.
    """

    name: str
    recall: float
    milliseconds: float
    bytes_an_image: float
    seconds: float

    def line(self) -> str:
        """A row of a Markdown table."""
        return (
            f"| {self.name} | {self.recall:.4f} | {self.milliseconds:.2f} | {self.bytes_an_image:,.0f} |"
            f" {self.seconds:.1f} |"
        )


def drawn(random: np.random.Generator, centres: Float32Array, num: int) -> Float32Array:
    """[num, dim] unit norm: as the features of `benchmarks.generated`."""
    vectors = centres[random.integers(0, len(centres), num)]
    vectors += 0.8 * random.standard_normal(vectors.shape, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def questions(random: np.random.Generator, centres: Float32Array) -> Float32Array:
    """[400, dim]: half of them from the clusters, half between two."""
    new, other = (drawn(random, centres, QUERIES // 2) for _ in range(2))
    between = new + other
    return np.concatenate([new, between / np.linalg.norm(between, axis=1, keepdims=True)])


def asked_of(random: np.random.Generator, engine: QueryEngine) -> Float32Array:
    """[400, dim]: what is searched for a stored picture by default, and halfway between two of those."""
    rows = random.integers(0, engine.num_images, QUERIES)
    blended = [engine.embed(Query(indexed_row=row)).blend(0.5) for row in rows.tolist()]
    one, other = np.stack(blended[: QUERIES // 2]), np.stack(blended[QUERIES // 2 :])
    return np.ascontiguousarray(np.concatenate([one, (one + other) / 2]))


def measured(
    name: str, build: Callable[[], tuple[Find, float]], queries: Float32Array, true: Int64Array, num: int
) -> Measured:
    """Build with all threads, then ask one by one on one thread. build: returns how to ask, and the bytes."""
    threads = faiss.omp_get_max_threads()
    started = time.perf_counter()
    find, size = build()
    seconds = time.perf_counter() - started
    faiss.omp_set_num_threads(1)
    for query in queries[:20]:
        find(query)
    took, hits = [], 0
    for query, best in zip(queries, true, strict=True):
        began = time.perf_counter()
        found = find(query)
        took.append(time.perf_counter() - began)
        hits += len({*found.tolist()} & {*best.tolist()})
    faiss.omp_set_num_threads(threads)
    return Measured(name, hits / true.size, 1e3 * float(np.median(took)), size / num, seconds)


def recall(find: Find, queries: Float32Array, true: Int64Array) -> float:
    """The share of the true 20 best that are found."""
    hits = sum(
        len({*find(query).tolist()} & {*best.tolist()}) for query, best in zip(queries, true, strict=True)
    )
    return hits / true.size


def ours(name: str, vectors: Float32Array, fitted: Float32Array | None, folder: Path) -> tuple[Find, float]:
    """One of our indexes, opened from its file as a service does. fitted: the questions that it is fitted
    to, as a reindex does.
    """
    path = folder / name
    index: FaissIndex | IvfPqIndex
    if name == "ivfpq":
        IvfPqIndex.build(vectors, fitted).save(path)
        index = IvfPqIndex.open(path, vectors)
    else:
        kind: Literal["flat", "hnsw"] = "flat" if name == "flat" else "hnsw"
        FaissIndex.build(vectors, kind, apart=True, questions=fitted).save(path)
        index = FaissIndex.open(path, vectors=vectors)
    return (lambda query: index.search(query[None], K).rows[0]), path.stat().st_size


def signs(vectors: Float32Array) -> tuple[Find, float]:
    """256 signs of random projections, searched by Hamming distance, the best 200 ranked by their vectors."""
    planes = np.random.default_rng(1).standard_normal((vectors.shape[1], 256), dtype=np.float32)

    def codes(rows: Float32Array) -> Codes:
        return np.packbits(rows @ planes > 0, axis=1, bitorder="little")

    index = BinaryIndex.build(codes(vectors))

    def find(query: Float32Array) -> Int64Array:
        near = index.nearest(codes(query[None])[0], RERANKED)[None]
        rows: Int64Array = ranked(pair_scores(query[None], vectors, near), near, K)[1][0]
        return rows

    return find, 32.0 * len(vectors)


def learnt(data_dir: DataDir, snapshot: Snapshot, vectors: Float32Array, images: int) -> tuple[Find, float]:
    """256 bits by heads that are trained as preset `hash` trains them, for the snapshot's model and on an
    even part of its images; the best 200 ranked by their vectors.
    """
    trained = load_trained_model(snapshot.path("model"))
    data = load_graph_data(data_dir)
    kept = np.linspace(0, len(data.images) - 1, images).astype(np.int64)
    part = replace(
        data,
        images=data.images.take(kept),
        features=np.asarray(data.features[kept]),
        tags_of_image=rows_of(data.tags_of_image, kept),
    )
    with tempfile.TemporaryDirectory() as folder:
        coded = with_codes(
            trained,
            part,
            lambda some: learnt_aside(trained.preset, some, epochs=1, seed=0),
            Path(folder),
            seed=0,
            resume=False,
            progress=SilentProgress(),
        )
    assert coded.hashing is not None
    index = HashedIndex.build(coded.hashing, vectors)
    bits = coded.hashing.bits + coded.hashing.looks.bits
    return (lambda query: index.search(query[None], K).rows[0]), bits / 8 * len(vectors)


def usearch(module: Any, vectors: Float32Array, folder: Path, enough: Enough) -> tuple[Find, float]:
    """usearch with the links of our HNSW."""
    index = module.Index(
        ndim=vectors.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=LINKS,
        expansion_add=EF_CONSTRUCTION,
    )
    index.add(np.arange(len(vectors)), vectors)
    path = folder / "usearch"
    index.save(str(path))

    def find(query: Float32Array) -> Int64Array:
        return np.asarray(index.search(query, K, threads=1).keys, np.int64)

    for width in WIDTHS:
        index.expansion_search = width
        if enough(find):
            break
    return find, path.stat().st_size


def hnswlib(module: Any, vectors: Float32Array, folder: Path, enough: Enough) -> tuple[Find, float]:
    """hnswlib with the links of our HNSW."""
    index = module.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=EF_CONSTRUCTION)
    index.add_items(vectors)
    index.set_num_threads(1)
    path = folder / "hnswlib"
    index.save_index(str(path))

    def find(query: Float32Array) -> Int64Array:
        return np.asarray(index.knn_query(query[None], K)[0][0], np.int64)

    for width in WIDTHS:
        index.set_ef(width)
        if enough(find):
            break
    return find, path.stat().st_size


def all_measured(
    vectors: Float32Array,
    queries: Float32Array,
    fitted: Float32Array | None,
    folder: Path,
    codes: Callable[[], tuple[Find, float]] | None,
) -> Iterator[Measured]:
    """Every index in turn, the absent ones said. fitted: what ours are fitted to; codes: learnt ones, where
    they are asked for.
    """
    true = np.stack([best_of(query, vectors, K)[1] for query in queries])
    recall_of = {}
    for name in ("flat", "hnsw", "ivfpq"):
        line = measured(name, partial(ours, name, vectors, fitted, folder), queries, true, len(vectors))
        recall_of[name] = line.recall
        yield line

    def enough(find: Find) -> bool:
        return recall(find, queries, true) >= recall_of["hnsw"] - _LESS

    yield measured("256 signs", partial(signs, vectors), queries, true, len(vectors))
    if codes is not None:
        yield measured("learnt codes", codes, queries, true, len(vectors))
    for name in OTHERS:
        try:
            module = importlib.import_module("usearch.index" if name == "usearch" else name)
        except ImportError:
            print(f"({name} is not installed: not measured)", flush=True)
            continue
        build = partial(usearch if name == "usearch" else hnswlib, module, vectors, folder, enough)
        yield measured(name, build, queries, true, len(vectors))


def draw_plot(lines: list[Measured], path: Path) -> None:
    """Recall against latency, name and bytes written beside each point."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for number, line in enumerate(sorted(lines, key=lambda line: line.milliseconds)):
        axes.scatter(line.recall, line.milliseconds)
        axes.annotate(
            f"{line.name}, {line.bytes_an_image:,.0f} B",
            (line.recall, line.milliseconds),
            xytext=(-6 if number % 2 else 6, 0),  # neighbours on either side
            textcoords="offset points",
            horizontalalignment="right" if number % 2 else "left",
            verticalalignment="center",
        )
    axes.margins(x=0.35, y=0.1)
    axes.set(yscale="log", xlabel=f"recall@{K}", ylabel="median milliseconds of one query")
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= 1])
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Draw vectors, measure every index, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--data", type=Path, help="take the embeddings of this data directory's snapshot")
    parser.add_argument(
        "--learnt", type=int, default=0, help="with --data, also codes that are learnt on so many images"
    )
    parser.add_argument(
        "--plot", type=Path, help="also draw recall against latency, memory said, into this file"
    )
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    lines = []
    codes, fitted = None, None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.data is not None:
            data_dir = DataDir(asked.data)
            snapshot = Snapshot.open(data_dir)
            vectors = np.asarray(snapshot.array("embeddings"))
            index = open_index(snapshot)
            queries = asked_of(random, QueryEngine(index))
            fitted = index_questions(index.trained, index.states)
            if asked.learnt:
                codes = partial(learnt, data_dir, snapshot, vectors, asked.learnt)
        else:
            centres = random.standard_normal((CLUSTERS, asked.dim), dtype=np.float32)
            save_array(folder / "embeddings.npy", drawn(random, centres, asked.images))
            vectors = np.asarray(load_array(folder / "embeddings.npy"))
            queries = questions(random, centres)
        print(f"{len(vectors):,} vectors of {vectors.shape[1]} numbers")
        print(f"| index | recall@{K} | ms | bytes an image | build, s |\n|---|---|---|---|---|", flush=True)
        for line in all_measured(vectors, queries, fitted, folder, codes):
            print(line.line(), flush=True)
            lines.append(line)
    if asked.plot:
        draw_plot(lines, asked.plot)


if __name__ == "__main__":
    main()
