"""The table and the plots of the scale benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Found = Mapping[int, Mapping[str, Mapping[str, Any]]]

ROWS = (
    ("training, preset `default`, s", "train", "seconds"),
    ("an epoch of preset `paper`, s (seeds a second × images)", "epoch", "epoch_s"),
    ("kNN edges, s", "reindex", "similar_s"),
    ("layer-wise embedding, s", "reindex", "embed_s"),
    ("index of neighbours, s", "reindex", "neighbours_s"),
    ("search index, s", "reindex", "index_s"),
    ("writing, s", "reindex", "write_s"),
    ("reading the catalogue, checksums, swap, s", "reindex", "other_s"),
    ("**full reindex, s**", "reindex", "seconds"),
    ("its peak of resident memory, GiB", "reindex", "peak_gib"),
    ("of that its own, GiB", "reindex", "own_peak_gib"),
    ("**reindex after 1 % new pictures, s**", "grow", "seconds"),
    ("the snapshot, GiB", "reindex", "snapshot_gib"),
    ("first answer after the start, s", "serve", "first_answer_s"),
    ("search by id over HTTP, median ms", "serve", "by_id_median_ms"),
    ("the same, 95th percentile", "serve", "by_id_p95_ms"),
    ("memory of the server, GiB", "serve", "serving_resident_gib"),
    ("of that its own, GiB", "serve", "serving_own_gib"),
    ("recall of the kNN edges", "recall", "edges_recall"),
    ("recall@20 of the index, stored vectors", "recall", "index_recall_stored"),
    ("recall@20 of the index, between two", "recall", "index_recall_between"),
    ("… of the middle of the slider, stored", "recall", "index_recall_middle"),
    ("… of the middle of the slider, between two", "recall", "index_recall_middle_between"),
    ("… of concepts alone, stored", "recall", "index_recall_concepts"),
    ("… of concepts alone, between two", "recall", "index_recall_concepts_between"),
    ("the index alone, ms a search on one thread", "recall", "index_ms_stored"),
)
LINES = {
    "cost": {
        "kNN edges": ("reindex", "similar_s"),
        "layer-wise embedding": ("reindex", "embed_s"),
        "index of neighbours": ("reindex", "neighbours_s"),
        "search index": ("reindex", "index_s"),
        "full reindex": ("reindex", "seconds"),
    },
    "memory": {
        "reindex, all resident pages": ("reindex", "peak_gib"),
        "reindex, its own memory": ("reindex", "own_peak_gib"),
        "server, its own memory": ("serve", "serving_own_gib"),
    },
}
"""What each plot draws: step and figure by label."""


def table(found: Found) -> str:
    """Markdown: a row for each figure, a column for each size, and how fast it grows between the last two."""
    sizes = sorted(found)
    head = f"| | {' | '.join(f'{size:,}' for size in sizes)} | grows as |"
    lines = [head, "|---" * (len(sizes) + 2) + "|"]
    for name, step, figure in ROWS:
        values = [found[size].get(step, {}).get(figure) for size in sizes]
        shown = " | ".join("" if value is None else f"{value:,}" for value in values)
        grows = exponent(sizes, values) if figure.endswith(("_s", "seconds")) else None
        lines.append(f"| {name} | {shown} | {'' if grows is None else f'n^{grows:.2f}'} |")
    return "\n".join(lines)


def exponent(sizes: list[int], values: list[float | None]) -> float | None:
    """e where a figure goes with n^e between the two largest sizes; None where it is not known."""
    if len(sizes) < 2 or not values[-1] or not values[-2]:
        return None
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def draw(found: Found, folder: Path) -> None:
    """`scale-cost.png` and `scale-memory.png`: logarithmic both ways, against the number of images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    sizes = sorted(found)
    for name, drawn in LINES.items():
        figure = Figure(figsize=(6, 4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for label, (step, what) in drawn.items():
            axes.loglog(sizes, [found[size][step][what] for size in sizes], marker="o", label=label)
        axes.set(xlabel="images", ylabel="seconds" if name == "cost" else "GiB")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
        figure.savefig(folder / f"scale-{name}.png", dpi=110)
