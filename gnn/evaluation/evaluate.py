"""`imsage evaluate`: the protocol over a data directory with a test split."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from gnn.encoders.base import check_same_encoder
from gnn.evaluation.embedding_map import embedding_map
from gnn.evaluation.hash_part import hash_part
from gnn.evaluation.questions import HOW_TO_SPLIT, NO_TEST_SPLIT, Questions
from gnn.evaluation.report import EvaluationReport
from gnn.evaluation.run import Evaluation
from gnn.graph_data import GraphData, load_graph_data, word_encoder
from gnn.query import QueryEngine
from gnn.recipe_options import training_of, variant_of
from gnn.reindex import build_index
from gnn.trained_model import MODEL, TrainedModel, load_trained_model
from graph_store.arrays import Float32Array
from graph_store.catalog import Catalog
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from graph_store.features import FeatureFile
from graph_store.healing import refuse_damaged
from graph_store.milvus_server import MilvusServer
from graph_store.progress import Progress, SilentProgress
from graph_store.records import ImageRecord
from graph_store.snapshot import Snapshot

QUERY_LIMIT = 2000
QUICK_QUERY_LIMIT = 500
_QUICKER = 8


def evaluate(
    data_dir: DataDir,
    *,
    seed: int = 0,
    quick: bool = False,
    progress: Progress | None = None,
    milvus: MilvusServer | None = None,
) -> EvaluationReport:
    """Measure the served snapshot, every other trained preset and all baselines on the held-out images.

    The served preset answers from its snapshot; the others from an index built in memory over the same
    catalogue. `quick` takes fewer queries and baseline settings; `milvus` is needed where the snapshot is
    searched there. Raises BadInput without a test split and when the catalogue has changed since the last
    reindex, NothingToServe without a snapshot, CorruptFile where features are damaged.
    """
    started = time.monotonic()
    progress = progress or SilentProgress()
    snapshot = Snapshot.open(data_dir)
    held_out, indexed = _records(data_dir)
    data = load_graph_data(data_dir)
    if snapshot.manifest["parameters"]["made_from"]["data"] != data.fingerprint():
        raise BadInput(
            "The catalogue has changed since the last reindex, so the index cannot be held against it",
            hint="Run imsage reindex first, and imsage train before it where pictures are held out now that"
            " were not when the model was trained.",
        )
    features = _sound_features(data_dir, data, held_out)
    words = word_encoder(data.encoder)
    trained = _trained_models(data_dir, snapshot, data)
    served = next(iter(trained))
    presets = {served: QueryEngine.open(snapshot, words, milvus)}
    with progress.phase("embedding presets", len(trained)) as advance:
        for name, model in trained.items():
            if name not in presets:
                presets[name] = QueryEngine(build_index(model, data), words)
            advance(1)
    questions = Questions.build(
        data.ids,
        data.tag_names,
        indexed,
        held_out,
        features,
        limit=QUICK_QUERY_LIMIT if quick else QUERY_LIMIT,
        seed=seed,
    )

    def hidden(name: str, tags_of_image: Csr) -> QueryEngine | None:
        # Training stands on this package's measures, so it cannot be imported while this package is.
        from gnn.training import learnt_aside

        # A model that was trained with the hidden tags would know them, so it learns again without.
        recipe = trained[name].preset
        if recipe.hashed:  # its vectors are the default's, and codes take minutes to learn
            return None
        model = learnt_aside(
            recipe,
            replace(data, tags_of_image=tags_of_image),
            epochs=max(recipe.epochs // _QUICKER, 1) if quick else recipe.epochs,
            seed=seed,
        )
        return QueryEngine(build_index(model, data, tags_of_image), words)

    run = Evaluation(questions, data.tags_of_image, presets, hidden, words, seed, quick, progress)
    parts = (*run.parts(), hash_part(presets, trained, questions, seed=seed))
    drawn = embedding_map(presets[served], questions.known_index_tags, served, seed=seed, fast=quick)
    return EvaluationReport(
        seed=seed,
        quick=quick,
        about={
            "snapshot": snapshot.version,
            "served_preset": served,
            "presets": list(presets),
            "image_encoder": data.encoder.name,
            "text_encoder": data.text_encoder.name,
            "indexed_images": len(data.ids),
            "held_out_images": len(held_out),
            "queries": len(questions.query_records),
            "tags": data.num_tags,
        },
        parts=parts,
        choices=run.choices,
        seconds=time.monotonic() - started,
        map=drawn,
        notes=_of_another_catalogue(trained, data),
    )


def _of_another_catalogue(trained: Mapping[str, TrainedModel], data: GraphData) -> tuple[str, ...]:
    """What is to be said of presets that were trained on the catalogue as it was: pictures may be held out
    now that they have learnt from, and that flatters them.
    """
    # Models of before features counted know the same catalogue by less.
    same = {data.fingerprint(), replace(data, feature_sums=data.feature_sums[:0]).fingerprint()}
    others = sorted(name for name, model in trained.items() if model.data not in same)
    return tuple(
        f"Preset {name} was trained on another state of this catalogue. If it has learnt from pictures that"
        f" are held out now, its figures are better than they should be: {training_of(name)}, then imsage"
        " reindex."
        for name in others
    )


def _records(data_dir: DataDir) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """The test split and the indexed images. Raises BadInput, which says how to get a test split, when there
    is none.
    """
    with Catalog.open(data_dir.catalog_path) as catalog:
        held_out = list(catalog.records("test"))
        if not held_out:
            raise BadInput(NO_TEST_SPLIT, hint=HOW_TO_SPLIT)
        return held_out, list(catalog.records("train"))


def _trained_models(data_dir: DataDir, snapshot: Snapshot, data: GraphData) -> dict[str, TrainedModel]:
    """The served model first, as the snapshot holds it, then every other preset that was trained here, one
    with other options beside the preset itself.
    """
    served = load_trained_model(snapshot.path(f"model/{MODEL}").parent)
    models = {variant_of(served.preset): served}
    found = {
        path.parent.name: load_trained_model(path.parent) for path in data_dir.models_dir.glob(f"*/{MODEL}")
    }
    # An earlier imsage kept a model with options under the preset's plain name: it goes by what it is.
    named = [(variant_of(model.preset), name, model) for name, model in found.items()]
    for variant, _, model in sorted(named, key=lambda each: (each[0] != each[1], each[0])):
        check_same_encoder(model.encoder, data.encoder)
        models.setdefault(variant, model)
    return models


def _sound_features(data_dir: DataDir, data: GraphData, held_out: list[ImageRecord]) -> Float32Array:
    """The feature file by record row, held-out images included. Raises CorruptFile where one of theirs is
    damaged; those of indexed images have been looked at by whoever loaded `data`.
    """
    file = FeatureFile.open(data_dir.features_dir, data.encoder.slug, data.encoder.dim)
    by_row = {record.row: record.id for record in held_out}
    refuse_damaged(file, [by_row[row] for row in file.damaged(sorted(by_row))])
    return file.view()
