"""Training of all heads of a model: rotated axes to start from, then rank consistency where it helps."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gnn.catalogue_embedding import How
from gnn.evaluation.relevance import TagTable
from gnn.graph_data import GraphData
from gnn.graph_index import GraphIndex
from gnn.hashing.codes import LENGTHS, LOOKS_BITS, CodeHead, CodeSpace, HashCodes
from gnn.hashing.objective import HashingConfig, HashingData, HashObjective
from gnn.hashing.room import UNSEARCHED, how_in, is_large
from gnn.hashing.rotation import rotated_head
from gnn.hashing.views import MIDDLE, Learn, cross_fitted
from gnn.query_types import AttachedEdges, QueryVectors
from gnn.readout import readout_of
from gnn.reindex import build_index
from gnn.scratch_room import scratch_room
from gnn.trained_model import TrainedModel
from gnn.trainer import Trainer, TrainerSettings
from graph_store.arrays import Float32Array
from graph_store.checksums import sha256_of_bytes
from graph_store.progress import Advance, Progress

EPOCHS = 14
MOST_ITEMS = 20_000
MOST_HELD = 500
HELD_SHARE = 0.15
FEWEST_VIEWS = 40
_MOST_RATE, _RATE_BITS = 0.03, 0.6
_VECTORS, _OTHERS = ".vectors.tmp", ".others.tmp"
"""Where the vectors of a large catalogue lie, and those of a model of a part of it."""


def with_codes(
    trained: TrainedModel,
    data: GraphData,
    learn: Learn,
    out_dir: Path,
    *,
    seed: int,
    resume: bool,
    progress: Progress,
) -> TrainedModel:
    """The model with heads for all of LENGTHS; the same seed gives the same ones.

    learn: trains the same kind of model on a part of the catalogue, for the views. History, curves and
    checkpoint of each length go below out_dir, and for a while the vectors of a large catalogue. One with
    fewer than 40 tagged images keeps the rotated axes, as does a length at which training does no better on
    the held views.
    """
    with scratch_room(out_dir / _VECTORS, needed=is_large(len(data.features))) as room:
        space, embeddings = _embedded(trained, data, how_in(room), progress)
        views = cross_fitted(
            data, trained, embeddings, learn, out_dir / _OTHERS, seed=seed, progress=progress
        )
        tags = TagTable.from_csr(data.tags_of_image, data.num_tags)
        material = _material(space, embeddings, views.rows, views.blended, tags, seed)
    looks = space.looks_of(material.items)
    made_from = {
        "data": trained.data,
        "preset": trained.preset.to_dict(),
        # More epochs or another device make another model of the same catalogue, and its vectors are others.
        "items": _digest(material.items),
        "views": _digest(material.views),
    }
    heads: dict[int, CodeHead] = {}
    metrics: dict[str, float] = {}
    for bits in LENGTHS:
        heads[bits], metrics[f"hash_{bits}"] = _learnt(
            material, bits, made_from, out_dir / f"hash-{bits}", seed, resume, progress
        )
    codes = HashCodes(
        space, heads, rotated_head(looks, looks.mean(axis=0), LOOKS_BITS, seed), bits=LENGTHS[-1]
    )
    return replace(trained, hashing=codes, metrics={**trained.metrics, **metrics})


@dataclass(frozen=True)
class _Renamed:
    """A Progress whose phases all go by one name: the trainer's own would be the same for each length."""

    progress: Progress
    name: str

    def phase(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        del name
        return self.progress.phase(self.name, total)


def _embedded(
    trained: TrainedModel, data: GraphData, how: How, progress: Progress
) -> tuple[CodeSpace, Float32Array]:
    """The space of the codes and the catalogue's vectors; the rest of the index leaves the memory."""
    index = build_index(trained, data, progress=progress, how=how, choice=UNSEARCHED)
    return space_of(index), np.asarray(index.states.embeddings)


def space_of(index: GraphIndex) -> CodeSpace:
    """What each dimension weighs in the middle of the slider, read off the model's own readout."""
    trained, states = index.trained, index.states
    readout = readout_of(trained, states.tag_states[-1], states.tag_embeddings)
    ones = np.ones((1, trained.model.dim), dtype=np.float32)
    visual = readout.visual(ones)[0]
    conceptual = readout.conceptual(ones, lambda: ones, np.array([True]))[0]
    middle = QueryVectors(visual, conceptual, "mixed", lambda: AttachedEdges((), ()), readout.slider)
    return CodeSpace(np.sqrt(np.maximum(middle.blend(MIDDLE), 0.0)), (visual != 0).astype(np.float32))


def _material(
    space: CodeSpace,
    embeddings: Float32Array,
    rows: np.ndarray,
    blended: Float32Array,
    tags: TagTable,
    seed: int,
) -> HashingData:
    """The views with all images to rank, or an even random part of a large catalogue that has theirs."""
    rng = np.random.default_rng(seed)
    listed = np.arange(len(embeddings), dtype=np.int64)
    if len(listed) > MOST_ITEMS:
        others = rng.permutation(np.setdiff1d(listed, rows))[: MOST_ITEMS - len(rows)]
        listed = np.sort(np.concatenate([rows, others]))
    order = rng.permutation(len(rows)).astype(np.int64)
    count = min(round(HELD_SHARE * len(rows)), MOST_HELD) if len(rows) >= FEWEST_VIEWS else 0
    return HashingData(
        items=space.of_index(np.asarray(embeddings[listed])),
        views=space.of_queries(blended),
        rows=np.searchsorted(listed, rows).astype(np.int64),
        tags=tags.rows(listed),
        trained=np.sort(order[count:]),
        held=np.sort(order[:count]),
    )


def _digest(vectors: Float32Array) -> str:
    return sha256_of_bytes(np.ascontiguousarray(vectors).tobytes())


def _learnt(
    material: HashingData,
    bits: int,
    made_from: Mapping[str, Any],
    out_dir: Path,
    seed: int,
    resume: bool,
    progress: Progress,
) -> tuple[CodeHead, float]:
    """The head of one length, and its figure on the held views (0 when there were none). made_from: JSON that
    a run must share with one that it goes on with, else it begins anew; another catalogue or model has other
    vectors.
    """
    sample = np.concatenate([material.items, material.views[material.trained]])
    start = rotated_head(material.items, sample.mean(axis=0), bits, seed)
    if not len(material.held):
        return start, 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        objective = HashObjective(material, start, HashingConfig(), seed)
    before = objective.measured(start)[objective.monitor]
    settings = TrainerSettings(
        seed=seed,
        max_epochs=EPOCHS,
        patience=None,
        learning_rate=min(_MOST_RATE, _RATE_BITS / bits),
        weight_decay=1e-4,
        schedule="cosine",
        fingerprint={"bits": bits, **made_from},
    )
    trainer = Trainer(objective, out_dir, settings, _Renamed(progress, f"{bits}-bit codes"))
    # Refusing would throw away the hours before; codes of other vectors are learnt anew.
    result = trainer.run(resume and trainer.can_resume())
    if result.best_metric <= before:
        return start, before
    return objective.code_head(), result.best_metric
