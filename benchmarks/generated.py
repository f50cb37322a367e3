"""A catalogue of generated pictures: clustered features and tags, stored, trained on and indexed for real."""

from __future__ import annotations

import numpy as np

from app.ingest.store import ENCODER_KEY
from gnn.encoders.registry import DEFAULT_IMAGE_ENCODER, image_encoder
from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.progress import SilentProgress
from graph_store.records import ImageRecord, Tag

CLUSTERS, TAGS, TRAINED, CHUNK = 500, 400, 3000, 5000


def generate(data_dir: DataDir, images: int) -> None:
    """A catalogue of `images` pictures in clusters, whose tags follow the clusters, and its snapshot.

    The model is trained on the first few thousand; the rest is indexed with it, as new pictures are.
    """
    rng = np.random.default_rng(0)
    spec = image_encoder(DEFAULT_IMAGE_ENCODER).spec
    centres = rng.standard_normal((CLUSTERS, spec.dim), dtype=np.float32)
    likely = rng.integers(0, TAGS, (CLUSTERS, 6))
    data_dir.create()
    features = FeatureFile.open(data_dir.features_dir, spec.slug, spec.dim, create=True)
    with Catalog.open(data_dir.catalog_path, create=True) as catalog:
        catalog.set_meta(ENCODER_KEY, spec.to_dict())

        def add(first: int, count: int) -> None:
            cluster = rng.integers(0, CLUSTERS, count)
            vectors = centres[cluster] + 0.8 * rng.standard_normal((count, spec.dim), dtype=np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            features.write(first, vectors)
            records = []
            for i in range(count):
                chosen = rng.choice(likely[cluster[i]], 3, replace=False)
                tags = tuple(Tag(f"tag {number}") for number in dict.fromkeys(chosen.tolist()))
                attributes = {"year": 2000 + int(rng.integers(25)), "licence": "cc-by"}
                number = first + i
                records.append(
                    ImageRecord(f"folder/{number:07d}.jpg", tags=tags, attributes=attributes, row=number)
                )
            catalog.upsert(records)

        few = min(TRAINED, images)
        add(0, few)
        train(data_dir, epochs=1, progress=SilentProgress())
        for first in range(few, images, CHUNK):
            add(first, min(CHUNK, images - first))
    reindex(data_dir, progress=SilentProgress())
