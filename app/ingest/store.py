"""Stores prepared images: features first, then the catalogue, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.ingest.prepare import Prepared
from gnn.encoders.base import EncoderSpec, check_same_encoder
from graph_store.arrays import Float32Array
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.records import ImageRecord, Skip

ENCODER_KEY = "image_encoder"


class ImageStore:
    """The catalogue and the feature file of one encoder. Each `add` is durable when it returns.

    A kill in between leaves features that no image refers to; the next run writes over them.
    """

    def __init__(self, data_dir: DataDir, catalog: Catalog, features: FeatureFile, run: str) -> None:
        self._data_dir = data_dir
        self._catalog = catalog
        self._features = features
        self._run = run
        self.dim = features.dim

    @classmethod
    def open(cls, data_dir: DataDir, catalog: Catalog, spec: EncoderSpec, run: str) -> ImageStore:
        """Raises EncoderMismatch when the catalogue's images were encoded by another encoder, and CorruptFile
        when features that the catalogue refers to are missing.
        """
        known = catalog.meta(ENCODER_KEY)
        if known is not None and catalog.count() > 0:
            recorded = EncoderSpec.from_dict(known)
            check_same_encoder(recorded, spec)
            # The same weights under another name belong into the same file; a moved checkpoint is noted.
            spec = spec if spec.slug == recorded.slug else recorded
        catalog.begin_anew()
        features = FeatureFile.open(data_dir.features_dir, spec.slug, spec.dim, create=True)
        features.view(catalog.next_row())
        if known != spec.to_dict():
            catalog.set_meta(ENCODER_KEY, spec.to_dict())
        return cls(data_dir, catalog, features, run)

    def add(self, prepared: Sequence[Prepared], vectors: Float32Array, skips: Sequence[Skip]) -> None:
        """Store images and skips. `vectors`: [m, dim] float32, unit norm, of the m images that bring an
        input, in their order; the others keep their rows.
        """
        # A server may store pictures while a long ingestion runs; they take turns by the batch.
        with self._data_dir.writing("ingest"):
            first = self._catalog.next_row()
            if len(vectors):
                self._features.write(first, vectors)
            rows = iter(range(first, first + len(vectors)))
            records: list[ImageRecord] = [
                replace(item.record, row=next(rows)) if item.input is not None else item.record
                for item in prepared
            ]
            if records:
                self._catalog.upsert(records)
        if skips:
            self._catalog.add_skips(self._run, skips)


def stacked(vectors: Sequence[Float32Array], dim: int) -> Float32Array:
    """[m, dim] out of m vectors or blocks of vectors; m may be 0."""
    return np.concatenate([np.zeros((0, dim), np.float32), *(np.atleast_2d(vector) for vector in vectors)])
