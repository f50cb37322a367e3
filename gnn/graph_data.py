"""The catalogue as arrays: what training and reindexing start from."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gnn.encoders.base import EncoderSpec, TextEncoder
from gnn.encoders.registry import DEFAULT_TEXT_ENCODER, text_encoder
from gnn.tag_words import tag_vectors
from graph_store.arrays import Float32Array, UInt32Array
from graph_store.catalog import Catalog
from graph_store.csr import Csr
from graph_store.data_dir import DataDir
from graph_store.durable import refusing_unwritable
from graph_store.errors import BadInput
from graph_store.healing import heal_features, open_features, refuse_damaged
from graph_store.image_table import ImageTable
from graph_store.mapped_pages import copy_rows

_MOST_COPIED = 2**29
"""So many bytes of features, of 100,000 images, are copied in memory; more are in a mapped file."""


@dataclass(frozen=True, eq=False)
class GraphData:
    """The indexed images (split `train`) in the order of their node numbers.

    images: as the catalogue has them; features: [n, dim] float32, unit norm, possibly a memory map;
    tags_of_image: weights as in the catalogue; tag_text: [t, text_dim] float32, unit norm. `tag_names` are
    sorted, so a tag's number does not depend on the order of ingestion. feature_sums: [n], a checksum of
    each image's features, or none where they are not of a file. `revision` is the catalogue's; what changes
    later is not in here.
    """

    images: ImageTable = field(repr=False)
    features: Float32Array
    tag_names: tuple[str, ...]
    tags_of_image: Csr
    tag_text: Float32Array
    encoder: EncoderSpec
    text_encoder: EncoderSpec
    feature_sums: UInt32Array = field(default_factory=lambda: np.zeros(0, np.uint32), repr=False)
    revision: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        """By node number."""
        return self.images.ids

    @property
    def num_tags(self) -> int:
        """How many tags indexed images carry."""
        return len(self.tag_names)

    def fingerprint(self) -> str:
        """Changes when an indexed image, its features or their place, its tags or an encoder does."""
        digest = hashlib.sha256(repr((self.encoder, self.text_encoder)).encode())
        for part in self.images.facts():
            digest.update(part)
        # Features that were brought along may be others, though all that is told of the images is the same.
        digest.update(np.ascontiguousarray(self.feature_sums).tobytes())
        return digest.hexdigest()


def load_graph_data(data_dir: DataDir, device: str = "auto") -> GraphData:
    """Read the catalogue; device: where names of tags are encoded. Raises BadInput when there is nothing to
    index, CorruptFile when features are damaged of which no snapshot has a copy, and Unwritable.
    """
    with Catalog.open(data_dir.catalog_path) as catalog:
        # Before the images: what a server writes in between then counts as later, among them or not.
        revision = catalog.revision()
        images = catalog.table("train")
        recorded, num_rows = catalog.meta("image_encoder"), catalog.next_row()
    if not len(images) or recorded is None:
        raise BadInput(
            f"The catalogue in {data_dir.root} has no image to index", hint="Run imsage ingest first."
        )
    spec = EncoderSpec.from_dict(recorded)
    table = open_features(data_dir, spec.slug, spec.dim, num_rows)
    refuse_damaged(table, heal_features(data_dir, table, images))
    features = _rows_of(table.view(), images.rows, data_dir.features_dir)
    names = images.tag_names
    words = word_encoder(spec, device)
    return GraphData(
        images,
        features,
        names,
        images.has(),
        tag_vectors(data_dir, words, names),
        spec,
        words.spec,
        table.sums(images.rows),
        revision,
    )


def word_encoder(spec: EncoderSpec, device: str = "auto") -> TextEncoder:
    """The text encoder that goes with an image encoder: its own where it has one, else the default."""
    name = spec.name if spec.name.startswith("open_clip:") else DEFAULT_TEXT_ENCODER
    return text_encoder(name, device=device)


def _rows_of(table: Float32Array, rows: np.ndarray, folder: Path) -> Float32Array:
    """Those rows of a map, without a copy where they are one run, as they are until an image is held out,
    replaced or removed. A copy that is large is a map too, of a file in `folder` that has no name: it goes
    with the array, or with the process. Raises Unwritable where there is no room for it.
    """
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return table[int(rows[0]) : int(rows[0]) + len(rows)]
    size = len(rows) * table[:1].nbytes
    if size <= _MOST_COPIED:
        picked: Float32Array = np.ascontiguousarray(table[rows])
        return picked
    # Where a file cannot be without a name, it has one for a moment: one that is tidied away.
    with (
        refusing_unwritable(folder),
        tempfile.TemporaryFile(dir=folder, prefix=".rows.", suffix=".tmp") as file,
    ):
        os.posix_fallocate(file.fileno(), 0, size)
        mapped = np.memmap(file, np.float32, "r+", shape=(len(rows), table.shape[1]))
    copy_rows(table, rows, mapped)
    mapped.flags.writeable = False
    return mapped
