"""Training a preset on a catalogue: reads it, learns, and leaves the model in the data directory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from gnn.agreement.believed import with_believed_tags
from gnn.graph_data import GraphData, load_graph_data
from gnn.hashing.training import with_codes
from gnn.kernel_training import train_kernel
from gnn.last_trained import note_last
from gnn.parallel import Team, team_of_environment
from gnn.presets import Preset, preset_named
from gnn.recipe_options import variant_of, with_options
from gnn.rise_training import train_rise
from gnn.sage_training import train_sage
from gnn.trained_model import TrainedModel
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, DataDirBusy
from graph_store.progress import Progress, SilentProgress


@dataclass(frozen=True)
class TrainReport:
    """``preset``: its name, with the options that were changed; ``epochs`` that were run; ``best_metric`` on
    the validation part (0 when there was none).
    """

    preset: str
    epochs: int
    best_metric: float
    seconds: float
    model_dir: Path


def train(
    data_dir: DataDir,
    preset: str = "default",
    *,
    epochs: int | None = None,
    seed: int = 0,
    resume: bool = False,
    device: str = "auto",
    options: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    team: Team | None = None,
) -> TrainReport:
    """Train on the images of split `train`; a part of those is held out to choose by.

    options: changes to the preset's recipe (:mod:`gnn.recipe_options`). The same seed gives the same model.
    `resume` goes on where an interrupted run of the same preset, seed and catalogue stopped. Raises
    UnknownName for the preset or an option, BadInput when there is nothing to learn from, or for a preset
    that several processes cannot train together. team: how a batch is cut into parts; None is the processes
    that torchrun started, or one by itself.
    """
    return _trained_by(
        team or team_of_environment(device),
        data_dir,
        preset,
        epochs,
        seed,
        resume,
        device,
        options or {},
        progress or SilentProgress(),
    )


def _trained_by(
    team: Team,
    data_dir: DataDir,
    preset: str,
    epochs: int | None,
    seed: int,
    resume: bool,
    device: str,
    options: Mapping[str, str],
    progress: Progress,
) -> TrainReport:
    recipe = with_options(preset_named(preset), options)
    if epochs is not None and epochs < 1:
        raise BadInput(f"epochs must be at least 1, not {epochs}")
    if recipe.model == "kernel" and team.parts > 1:
        raise BadInput(
            f"Preset {recipe.name!r} is solved for, which one process does",
            hint="Run imsage train without torchrun; paper and graph-rise are trained by several.",
        )
    started = time.perf_counter()
    with data_dir.lock("train") if team.leads else nullcontext():
        # One after the other: whoever reads first puts back what is damaged.
        if not team.leads:
            team.wait()
        data = load_graph_data(data_dir, device)
        if team.leads:
            team.wait()
        # A server may write while they read: one would look up its rows in the features of another catalogue.
        if not team.same(data.fingerprint()):
            raise DataDirBusy(
                "The catalogue was written to while the processes of this training read it",
                hint="Run it again.",
            )
        refuse_without_tags(data)
        # A recipe that was changed does not take the place of the preset's own: evaluate shows both.
        variant = variant_of(recipe)
        out_dir = data_dir.models_dir / variant
        trained, steps = _learnt(
            data,
            recipe,
            out_dir,
            epochs or recipe.epochs,
            seed,
            resume=resume,
            device=device,
            progress=progress if team.leads else SilentProgress(),
            team=team,
        )
        if team.leads:
            trained.save(out_dir)
            note_last(data_dir, variant)
        team.wait()
    best = trained.metrics.get("best", 0.0)
    return TrainReport(variant, steps, best, time.perf_counter() - started, out_dir)


def _learnt(
    data: GraphData,
    recipe: Preset,
    out_dir: Path,
    epochs: int,
    seed: int,
    *,
    resume: bool,
    device: str,
    progress: Progress,
    team: Team | None = None,
) -> tuple[TrainedModel, int]:
    """The model with its codes, where it has some, and the epochs that were run."""
    if recipe.model == "kernel":
        given = data
        if recipe.agreement:
            data = with_believed_tags(data, recipe)
        trained, steps = train_kernel(
            data,
            recipe,
            out_dir,
            epochs=epochs,
            seed=seed,
            resume=resume,
            device=device,
            progress=progress,
            given=given,
        )
    else:
        descend = train_rise if recipe.model == "rise" else train_sage
        trained, steps = descend(
            data,
            recipe,
            out_dir,
            epochs=epochs,
            seed=seed,
            resume=resume,
            device=device,
            progress=progress,
            team=team,
        )
    if recipe.hashed:
        # Its tags have been judged: agreement is no part of these recipes any more.
        judged = replace(trained.preset, agreement=0)
        coded = with_codes(
            replace(trained, preset=judged),
            data,
            lambda part: learnt_aside(replace(judged, hashed=False), part, epochs=1, seed=seed),
            out_dir,
            seed=seed,
            resume=resume,
            progress=progress,
        )
        trained = replace(coded, preset=trained.preset)
    return trained, steps


def learnt_aside(recipe: Preset, data: GraphData, *, epochs: int, seed: int) -> TrainedModel:
    """A model of other data than the catalogue's, a part of it for instance; it leaves no files. With one
    epoch a kernel model takes its numbers as they are.
    """
    with tempfile.TemporaryDirectory() as folder:
        trained, _ = _learnt(
            data,
            recipe,
            Path(folder),
            epochs,
            seed,
            resume=False,
            device="cpu",
            progress=SilentProgress(),
        )
    return trained


def refuse_without_tags(data: GraphData) -> None:
    """Raises BadInput when no indexed image has a tag."""
    if data.num_tags == 0:
        raise BadInput(
            f"None of the {len(data.images)} images to index has a tag, so there are no concepts to learn",
            hint="Add tags (sub-folder names, a .txt beside the picture, tags.jsonl) and ingest again.",
        )
