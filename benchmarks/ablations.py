"""What each option of the seed systems is worth: the tables "Ablations" and "Wrong edges" of docs/quality.md.

    python -m benchmarks.ablations --data D [--images 4000] [--epochs 24] [--seeds 3]
    python -m benchmarks.ablations --data D --wrong 0.3

Works on the training split alone: a seed draws its own fifth of the images as untagged queries and indexes
at most --images of the others. The second form makes that share of the `has` edges wrong, trains preset
`default` on them, with and without graph agreement, and makes the same share of the `similar` edges wrong as
well, to see what the neighbours' vote over them is worth.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks.folds import Fold, engine_of, fold_of, spoilt
from gnn.agreement.agree import agree
from gnn.evaluation.metrics import ideal_gains, ndcg_at_k, recall_at_k, top_k
from gnn.evaluation.protocol.graded import take_gains
from gnn.evaluation.protocol.labels import knn_accuracy
from gnn.evaluation.relevance import TagTable, jaccard_gains
from gnn.evaluation.systems import EngineSystem
from gnn.graph_build import build_graph, similar_space
from gnn.graph_data import GraphData, load_graph_data
from gnn.presets import DEFAULT, GRAPH_RISE, Preset
from gnn.recipe_options import with_options
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.graph import Graph

VARIANTS: Mapping[str, Mapping[str, str]] = {
    "graph-rise": {},
    "without graph regularisation": {"alpha": "0"},
    "ten times the regularisation": {"alpha": "1"},
    "regularisation normalised by degree": {"normaliser": "degree"},
    "without rank consistency": {"ranking": "0"},
    "with attention, four heads": {"attention": "4"},
    "without related edges": {"related": "0"},
    "with two rounds of agreement": {"agreement": "2"},
}


def measured(fold: Fold, data: GraphData, preset: Preset, epochs: int, seed: int) -> tuple[float, float]:
    """nDCG@5 and kNN label accuracy of the untagged queries, in an index trained and built on `data`."""
    system = EngineSystem(engine_of(data, data, preset, epochs, seed))
    rows = system.rows(system.image_queries(fold.queries), 0.5, 5)
    gains = jaccard_gains(fold.truth, fold.known)
    ndcg = ndcg_at_k(take_gains(gains, rows), ideal_gains(gains, 5), 5)
    return float(np.nanmean(ndcg)), float(np.nanmean(knn_accuracy(rows, fold.truth, fold.known)))


def voted_recall(graph: Graph, truth: TagTable) -> float:
    """R@5 of the tags that an indexed image's `similar` images carry, by their weights."""

    def matrix(csr: Csr, columns: int) -> sparse.csr_matrix:
        return sparse.csr_matrix((csr.weights, csr.indices, csr.indptr), shape=(csr.num_rows, columns))

    votes = matrix(graph.similar, graph.num_images) @ matrix(graph.tags_of_image, graph.num_tags)
    best = top_k(votes.toarray(), 5)
    dense = truth.dense()
    found = recall_at_k(np.take_along_axis(dense, best, axis=1), dense.sum(axis=1), 5)
    return float(np.nanmean(found))


def wrong_edges(fold: Fold, share: float, epochs: int, seed: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Rows of the table: clean, with wrong edges, and these agreed upon."""
    data, rng = fold.index, np.random.default_rng(seed)
    num = len(data.features)
    wrong = replace(
        data,
        tags_of_image=spoilt(data.tags_of_image, share, data.tags_of_image.indices, data.num_tags, rng),
    )
    graph = build_graph(
        similar_space(data.features, DEFAULT.graph)(data.features),
        wrong.tags_of_image,
        data.tag_text,
        DEFAULT.graph,
    )
    noisy = replace(graph, similar=spoilt(graph.similar, share, np.arange(num), num, rng))
    clean = replace(
        graph, tags_of_image=data.tags_of_image, images_of_tag=data.tags_of_image.transpose(data.num_tags)
    )
    agreed = agree(noisy, data.features, 2, seed)
    agreeing = with_options(DEFAULT, {"agreement": "2"})
    for name, told, preset, voting in (
        ("right edges", data, DEFAULT, clean),
        ("right edges, agreement", data, agreeing, agree(clean, data.features, 2, seed).graph),
        ("wrong edges", wrong, DEFAULT, noisy),
        ("wrong edges, agreement", wrong, agreeing, agreed.graph),
    ):
        yield name, (*measured(fold, told, preset, epochs, seed), voted_recall(voting, fold.known))


def main() -> None:
    """Print the table in Markdown: the mean over seeds and half the range."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--images", type=int, default=4000)
    asked.add_argument("--epochs", type=int, default=24)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--wrong", type=float, default=0.0)
    given = asked.parse_args()
    data = load_graph_data(DataDir(given.data))
    print(ablation_table(data, given.images, given.epochs, given.seeds, given.wrong))


def ablation_table(data: GraphData, images: int, epochs: int, seeds: int, wrong: float = 0.0) -> str:
    """The table in Markdown. wrong: the share of wrong edges; 0 asks for the options of graph-rise."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(seeds):
        fold = fold_of(data, seed, images)
        if wrong:
            rows = wrong_edges(fold, wrong, epochs, seed)
        else:
            rows = (
                (name, measured(fold, fold.index, with_options(GRAPH_RISE, changes), epochs, seed))
                for name, changes in VARIANTS.items()
            )
        for name, figures in rows:
            found.setdefault(name, []).append(figures)
            print(f"seed {seed}: {name}: {' '.join(f'{each:.4f}' for each in figures)}", file=sys.stderr)
    heads = ["nDCG@5", "kNN accuracy", *(["R@5 of the neighbours' vote"] if wrong else [])]
    lines = [f"| variant | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for name, values in found.items():
        table = np.asarray(values)
        cells = [f"{table[:, i].mean():.3f} ± {np.ptp(table[:, i]) / 2:.3f}" for i in range(len(heads))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
