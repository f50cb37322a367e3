"""Training of the kernel preset: a search for its few numbers on held-out images, then one exact solve.

The held-out images are attached to the graph of the others exactly as queries are, so each number is chosen
on query views. A step of the search is one candidate; it is written to the history as it is measured, which
is what a resumed run reads back.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gnn.calibration import Calibration
from gnn.curves import plot_curves
from gnn.embedding import in_memory, mapped_in
from gnn.graph_data import GraphData
from gnn.kernel_candidates import Candidate, Measured, best_candidate, margin_of, next_candidate
from gnn.kernel_fit import MOST_SOLVED, Fitted, fit_kernel
from gnn.kernel_settling import Settled, settle
from gnn.kernel_validation import MOST_HELD_OUT, QueryViews, hold_out_views, measure
from gnn.naming_recipes import SHALLOW
from gnn.presets import Preset
from gnn.scratch_room import scratch_room
from gnn.trained_model import SliderBalance, TrainedModel
from gnn.trainer import CURVES, HISTORY
from graph_store.arrays import Int64Array
from graph_store.durable import refusing_unwritable, write_bytes
from graph_store.progress import Progress

SEARCHED_IMAGES = 12_000
"""So many with tags are enough to have landmarks chosen as a larger catalogue has: with each image a landmark
of its own, other numbers are best.
"""
SEARCHED_UNTAGGED = 20_000
"""Images without tags are neighbours only; so many of them are as near to one another as need be."""
REVISION = 2
"""Raised when candidates are measured otherwise and no preset says so: what an earlier version has measured
would be compared with what this one does.
"""
_STATES = ".states.tmp"
"""Where the states of a large catalogue lie while the readout is solved for."""


@dataclass(frozen=True)
class _Line:
    """One line of the history."""

    epoch: int
    loss: float
    ndcg_at_5: float
    seconds: float
    candidate: dict[str, Any]
    jaccard: float
    identity: str


def train_kernel(
    data: GraphData,
    preset: Preset,
    out_dir: Path,
    *,
    epochs: int,
    seed: int,
    resume: bool,
    device: str,
    progress: Progress,
    given: GraphData | None = None,
) -> tuple[TrainedModel, int]:
    """The trained model and how many candidates were measured. It runs on the CPU whatever the device. given:
    the catalogue before its tags were judged, by which candidates are.
    """
    del device
    given = given or data
    out_dir.mkdir(parents=True, exist_ok=True)
    recipe = json.dumps(preset.to_dict(), sort_keys=True)
    identity = f"{data.fingerprint()}:{seed}:{recipe}:{REVISION}"
    # Of a longer run, as many as a run of this length would have measured.
    lines = _earlier(out_dir / HISTORY, identity)[:epochs] if resume else []
    _rewrite(out_dir / HISTORY, lines)
    rng = np.random.default_rng(seed)
    views = hold_out_views(given, _searched(given, rng), preset, rng)
    best = Measured(Candidate(), 0.0, 0.5)
    settled = None
    if views is not None:
        best = _search(views, epochs, lines, out_dir / HISTORY, identity, progress)
        settled = settle(views, best)
    with progress.phase("solve", 1) as advance:
        large = len(data.features) > MOST_SOLVED
        with scratch_room(out_dir / _STATES, needed=large) as room:
            fitted = fit_kernel(
                data.features,
                data.tags_of_image,
                data.tag_text,
                preset,
                best.candidate,
                recipe=settled.recipe if settled else SHALLOW,
                seed=seed,
                new_array=in_memory if room is None else mapped_in(room),
            )
        advance(1)
    if settled is not None:
        fitted = _with_numbers(fitted, settled)
    plot_curves([_plotted(line) for line in lines], out_dir / CURVES)
    trained = TrainedModel(
        preset=preset,
        model=fitted.model.eval(),
        tag_names=data.tag_names,
        space=fitted.space,
        balance=settled.balance if settled else SliderBalance(0.3, 0.5),
        calibration=settled.calibration if settled else Calibration(),
        encoder=data.encoder,
        text_encoder=data.text_encoder,
        data=data.fingerprint(),
        metrics={"best": best.ndcg_at_5, **(settled.metrics if settled else {})},
    )
    return trained, len(lines)


def _searched(data: GraphData, rng: np.random.Generator) -> Int64Array:
    """The images that the search works on: all, or of a large catalogue an even random part of those with
    tags, and of those without in proportion, up to a limit.
    """
    num = len(data.features)
    most = SEARCHED_IMAGES + MOST_HELD_OUT
    if num <= most:
        return np.arange(num, dtype=np.int64)
    has_tags = data.tags_of_image.degrees() > 0
    tagged, others = np.flatnonzero(has_tags), np.flatnonzero(~has_tags)
    chosen = rng.choice(tagged, size=min(len(tagged), most), replace=False)
    beside = min(round(len(others) * len(chosen) / max(len(tagged), 1)), SEARCHED_UNTAGGED)
    untagged = rng.choice(others, size=beside, replace=False)
    return np.sort(np.concatenate([chosen, untagged])).astype(np.int64)


def _search(
    views: QueryViews, epochs: int, lines: list[_Line], history: Path, identity: str, progress: Progress
) -> Measured:
    """Measure candidates until there are no better neighbours or `epochs` are used up."""
    done = [_measured(line) for line in lines]
    margin = margin_of(len(views.truth))
    with progress.phase("search", epochs) as advance:
        advance(min(len(done), epochs))
        while len(done) < epochs:
            candidate = next_candidate(done, margin)
            if candidate is None:
                break
            started = time.perf_counter()
            found = measure(views, candidate)
            done.append(found)
            line = _Line(
                epoch=len(done),
                loss=1.0 - found.ndcg_at_5,
                ndcg_at_5=found.ndcg_at_5,
                seconds=time.perf_counter() - started,
                candidate=asdict(candidate),
                jaccard=found.jaccard,
                identity=identity,
            )
            lines.append(line)
            with refusing_unwritable(history), history.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(asdict(line)) + "\n")
            advance(1)
    return best_candidate(done, margin)


def _measured(line: _Line) -> Measured:
    return Measured(Candidate(**line.candidate), line.ndcg_at_5, line.jaccard)


def _plotted(line: _Line) -> dict[str, float]:
    return {"epoch": line.epoch, "loss": line.loss, "ndcg_at_5": line.ndcg_at_5}


def _earlier(path: Path, identity: str) -> list[_Line]:
    """What an interrupted run of the same identity has measured; a torn last line is dropped."""
    lines: list[_Line] = []
    if not path.exists():
        return lines
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = _Line(**json.loads(text))
        except (ValueError, TypeError):
            break
        # Another version may have searched over other numbers; its lines are no help to this one.
        if line.identity != identity or line.candidate.keys() != asdict(Candidate()).keys():
            return []
        lines.append(line)
    return lines


def _rewrite(path: Path, lines: list[_Line]) -> None:
    write_bytes(path, "".join(json.dumps(asdict(line)) + "\n" for line in lines).encode())


def _with_numbers(fitted: Fitted, settled: Settled) -> Fitted:
    fitted.model.config = replace(
        fitted.model.config,
        completed=settled.completed,
        trust_jaccard=settled.trust_jaccard,
        trust_tags=settled.trust_tags,
        naming_vote=settled.naming_vote,
        naming_whole=settled.naming_whole,
        naming_share=settled.naming_share,
        named_view=settled.named_view,
        view_share=settled.view_share,
    )
    return fitted
