"""From pictures to a snapshot: `ingest`, `train`, `reindex`, and `build`, which is the three in a row."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import (
    Data,
    Device,
    Encoder,
    Engine,
    Epochs,
    Features,
    Format,
    Images,
    KeepOriginals,
    Options,
    Preset,
    Prune,
    Seed,
    Source,
    Strict,
    data_dir,
    recipe_changes,
    settings_for,
)
from app.cli.telling import tell_ingested, tell_snapshot, tell_trained
from app.progress import terminal_progress

DEFAULT_ENCODER = "efficientnet_lite0"
DEFAULT_PRESET = "default"
DEFAULT_ENGINE = "local"


def ingest(
    source: Source,
    data: Data = None,
    format: Format = "auto",
    encoder: Encoder = DEFAULT_ENCODER,
    images: Images = None,
    features: Features = None,
    strict: Strict = False,
    keep_originals: KeepOriginals = False,
    prune: Prune = False,
    device: Device = None,
    engine: Engine = DEFAULT_ENGINE,
) -> None:
    """Read pictures and tags into the catalogue and compute their features.

    Run again after an interruption or a change: what is already there and unchanged is not read twice.
    """
    from app.images import PictureLimits
    from app.ingest.engines.registry import ingest_engine_named
    from app.ingest.pipeline import ingest as ingest_source

    settings = settings_for(data)
    report = ingest_source(
        source,
        settings.data_dir,
        format=format,
        encoder=encoder,
        images_dir=images,
        features=features,
        strict=strict,
        keep_originals=keep_originals,
        prune=prune,
        device=device or settings.device,
        engine=ingest_engine_named(engine),
        limits=PictureLimits().raised_to(settings.max_image_bytes, settings.max_image_pixels),
        progress=terminal_progress(),
    )
    tell_ingested(report)


def train(
    data: Data = None,
    preset: Preset = DEFAULT_PRESET,
    epochs: Epochs = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    device: Device = None,
    option: Options = None,
) -> None:
    """Train a model on the catalogue's graph."""
    from app.tidying import tidy_up
    from gnn.parallel import leads
    from gnn.training import train as train_model

    directory = data_dir(data)
    if leads():
        tidy_up(directory)
    report = train_model(
        directory,
        preset,
        epochs=epochs,
        seed=seed,
        resume=resume,
        device=device or settings_for(data).device,
        options=recipe_changes(option),
        progress=terminal_progress(),
    )
    if leads():
        tell_trained(report)


def reindex(
    data: Data = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", metavar="NAME", help="Which trained model to use. Without it: the last."),
    ] = None,
    engine: Engine = DEFAULT_ENGINE,
    full: Annotated[
        bool, typer.Option("--full", help="Compute everything anew instead of keeping what did not change.")
    ] = False,
) -> None:
    """Embed the whole catalogue into a new snapshot and swap it in; a running server moves over by itself."""
    _reindex(data, preset, engine, full, None)


def _reindex(data: Path | None, preset: str | None, engine: str, full: bool, device: str | None) -> None:
    from app.tidying import tidy_up
    from gnn.engines.registry import engine_named
    from gnn.reindex import reindex as make_snapshot

    settings = settings_for(data)
    tidy_up(settings.data_dir)
    tell_snapshot(
        make_snapshot(
            settings.data_dir,
            preset,
            full=full,
            keep=settings.keep_snapshots,
            progress=terminal_progress(),
            milvus=settings.milvus,
            policy=settings.index_policy,
            engine=engine_named(engine),
            store=settings.store,
            device=device or settings.device,
        )
    )


def build(
    source: Source,
    data: Data = None,
    format: Format = "auto",
    encoder: Encoder = DEFAULT_ENCODER,
    images: Images = None,
    features: Features = None,
    strict: Strict = False,
    keep_originals: KeepOriginals = False,
    prune: Prune = False,
    preset: Preset = DEFAULT_PRESET,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = None,
    option: Options = None,
    engine: Engine = DEFAULT_ENGINE,
) -> None:
    """Ingest, train and reindex: from pictures to a catalogue that can be searched.

    Run again after an interruption, it goes on with the step that was interrupted.
    """
    from gnn.presets import preset_named
    from gnn.recipe_options import with_options
    from graph_store.errors import BadInput, CorruptFile

    # Training would refuse them too, but only when all pictures have been read.
    with_options(preset_named(preset), recipe_changes(option))
    ingest(source, data, format, encoder, images, features, strict, keep_originals, prune, device, engine)
    try:
        train(data, preset, epochs, seed, True, device, option)
    except (BadInput, CorruptFile):
        # A checkpoint of other settings, of the catalogue as it was, or damaged is nothing to go on from.
        train(data, preset, epochs, seed, False, device, option)
    _reindex(data, None, engine, False, device)
