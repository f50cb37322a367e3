"""The same weights under another name are the same encoder, and have a file of features of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.catalogue_reader import CatalogueReader
from app.ingest.engines.engine import Featured
from app.ingest.store import ImageStore
from gnn.encoders.base import EncoderSpec
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.records import ImageRecord

BY_TAG = EncoderSpec("open_clip:ViT-B-32/laion2b", "ab" * 32, 4, "squash 224")
BY_PATH = replace(BY_TAG, name="open_clip:ViT-B-32@/models/laion2b.pt")


def test_a_catalogue_that_was_emptied_and_filled_under_another_name_gives_features_of_now(
    data_dir: DataDir,
) -> None:
    first, second = np.eye(4, dtype=np.float32)[:2]
    data_dir.create()
    with Catalog.open(data_dir.catalog_path, create=True) as catalog:
        ImageStore.open(data_dir, catalog, BY_TAG, "one").add([Featured(ImageRecord("old"), first)], [])
        catalog.delete(["old"])
        ImageStore.open(data_dir, catalog, BY_PATH, "two").add([Featured(ImageRecord("new"), second)], [])

    # A snapshot of before is served still, so the first name is asked for.
    found = CatalogueReader(data_dir).stored_features("new", BY_TAG)
    np.testing.assert_array_equal(found, [second])
