"""Loss and metric curves as a PNG, drawn without a display and without matplotlib's global state."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from graph_store.durable import write_bytes

NOT_METRICS = frozenset({"epoch", "loss", "learning_rate"})


def plot_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw the loss on the left and every validation metric on the right, over epochs, into ``path``.

    ``history`` holds one record an epoch with ``epoch``, ``loss`` and any metrics; an empty one draws empty
    axes.
    """
    # Not above: all that can train imports this module, and takes a second longer to start with matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    marker = "o" if len(epochs) < 2 else None
    left.plot(epochs, [record["loss"] for record in history], color="tab:red", marker=marker)
    left.set(title="training loss", xlabel="epoch")
    names = sorted({name for record in history for name in record} - NOT_METRICS)
    for name in names:
        points = [(record["epoch"], record[name]) for record in history if name in record]
        right.plot([x for x, _ in points], [y for _, y in points], label=name, marker=marker)
    right.set(title="validation", xlabel="epoch")
    if names:
        right.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_bytes(path, picture.getvalue())
