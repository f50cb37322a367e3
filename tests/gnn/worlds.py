"""Small catalogues of features that their tags explain: in memory, and as a data directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gnn.encoders.base import EncoderSpec
from gnn.graph_data import GraphData
from gnn.kernel_training import train_kernel
from gnn.presets import preset_named
from gnn.recipe_options import with_options
from gnn.rise_training import train_rise
from gnn.sage_training import train_sage
from gnn.trained_model import TrainedModel
from graph_store.arrays import BoolArray, Float32Array
from graph_store.catalog import Catalog
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.image_table import ImageTable
from graph_store.progress import Progress, SilentProgress
from graph_store.records import ImageRecord, Tag

TAGS = ("blue", "circle", "green", "large", "red", "square")
SPEC = EncoderSpec("precomputed", "", 24, "none")
WORDS = EncoderSpec("words", "", 12, "none")


def drawn_features(chosen: BoolArray, seed: int = 0, noise: float = 0.6) -> Float32Array:
    """[n, 24] unit norm: a sum of one direction a tag, and noise. chosen: [n, tags]. The directions do not
    depend on the seed.
    """
    directions = np.random.default_rng(7).standard_normal((chosen.shape[1], SPEC.dim))
    vectors = chosen @ directions + noise * np.random.default_rng(seed).standard_normal(
        (len(chosen), SPEC.dim)
    )
    unit: Float32Array = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def drawn_tags(num: int, seed: int = 0, tags: Sequence[str] = TAGS) -> BoolArray:
    """[num, tags]: each tag on about a third of the images."""
    chosen: BoolArray = np.random.default_rng(seed).random((num, len(tags))) < 0.35
    return chosen


def drawn_records(chosen: BoolArray, tags: Sequence[str] = TAGS) -> list[ImageRecord]:
    return [
        ImageRecord(
            id=f"image-{row}",
            tags=tuple(Tag(name) for name, shown in zip(tags, carried, strict=True) if shown),
            row=row,
        )
        for row, carried in enumerate(chosen)
    ]


def tag_edges(records: Sequence[ImageRecord], names: Sequence[str]) -> Csr:
    """For each record the numbers of its tags, in a vocabulary that may hold more."""
    number = {name: i for i, name in enumerate(names)}
    return Csr.from_rows(
        [len(record.tags) for record in records],
        [number[tag.name] for record in records for tag in record.tags],
        [tag.weight for record in records for tag in record.tags],
    )


def data_of(
    chosen: BoolArray, tags: Sequence[str] = TAGS, seed: int = 0, shown: BoolArray | None = None
) -> GraphData:
    """The catalogue in memory. shown: what the pictures show, where that is more than their tags say. Tag
    texts are random: nothing is to be learnt from them.
    """
    records = drawn_records(chosen, tags)
    features = drawn_features(chosen if shown is None else shown, seed)
    text = np.random.default_rng(seed).standard_normal((len(tags), WORDS.dim)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    return GraphData(
        ImageTable.of(records), features, tuple(tags), tag_edges(records, tags), text, SPEC, WORDS
    )


def drawn_data(num: int = 160, seed: int = 0) -> GraphData:
    """Images whose features are noisy sums of one direction a tag; every ninth came without tags."""
    shown = drawn_tags(num, seed)
    chosen = shown.copy()
    chosen[::9] = False
    return data_of(chosen, seed=seed, shown=shown)


def trained(
    data: GraphData,
    folder: Path,
    preset: str = "default",
    *,
    epochs: int = 2,
    seed: int = 0,
    resume: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
    **options: str,
) -> TrainedModel:
    """The model that training makes; its files go to the folder. options: of the recipe."""
    recipe = with_options(preset_named(preset), options)
    learn = {"kernel": train_kernel, "sage": train_sage, "rise": train_rise}[recipe.model]
    model, _ = learn(
        data,
        recipe,
        folder,
        epochs=epochs,
        seed=seed,
        resume=resume,
        device=device,
        progress=progress or SilentProgress(),
    )
    return model


def write_catalogue(
    folder: Path, records: Sequence[ImageRecord], features: Float32Array, spec: EncoderSpec = SPEC
) -> DataDir:
    """A data directory as `imsage ingest` leaves it behind for features that were brought along."""
    data_dir = DataDir(folder)
    data_dir.create()
    store(data_dir, records, features, spec)
    return data_dir


def store(
    data_dir: DataDir, records: Sequence[ImageRecord], features: Float32Array, spec: EncoderSpec = SPEC
) -> None:
    """Add the records, the i-th of which has row first + i, or replace those of the same id."""
    table = FeatureFile.open(data_dir.features_dir, spec.slug, spec.dim, create=True)
    if len(records):
        table.write(records[0].row, features)
    with Catalog.open(data_dir.catalog_path, create=True) as catalog:
        catalog.set_meta("image_encoder", spec.to_dict())
        catalog.upsert(records)
