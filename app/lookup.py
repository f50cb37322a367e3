"""Asks the current snapshot a question from the command line: opened, asked, dropped.

The service keeps encoders warm and batches queries; a command asks once, so here an encoder is loaded only
when the question needs it: a file needs the image encoder, words that are no tag need the text encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from app.catalogue_reader import CatalogueReader
from app.images import decode
from app.picture_file import read_picture
from gnn.encoders.base import EncoderSpec, ImageEncoder, check_same_encoder
from gnn.encoders.registry import image_encoder, text_encoder
from gnn.query import Query, QueryEngine, QueryTag, QueryVectors
from graph_store.arrays import Float32Array
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import NotFound
from graph_store.snapshot import Snapshot
from graph_store.tag_names import tag_key


@dataclass(frozen=True)
class Question:
    """What is asked: a picture (a file, or the id of one in the catalogue), tags, words; at least one."""

    picture: Path | None = None
    image_id: str | None = None
    tags: tuple[QueryTag, ...] = ()
    text: str | None = None

    @property
    def label(self) -> str:
        """The question in words, for a title."""
        parts = [self.picture.name] if self.picture else [self.image_id] if self.image_id else []
        parts += [f"{tag.name} ({tag.weight:+g})" if tag.weight != 1 else tag.name for tag in self.tags]
        return " + ".join([*parts, f"“{self.text}”"] if self.text else parts)


@dataclass(frozen=True)
class Found:
    """One result; score = visual + conceptual."""

    id: str
    score: float
    visual: float
    conceptual: float
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """A question made into vectors once, so that every stop of the slider uses the same ones."""

    vectors: QueryVectors
    row: int | None


class Lookup:
    """The current snapshot of a data directory, with the catalogue beside it."""

    def __init__(self, data_dir: DataDir, *, max_bytes: int, max_pixels: int, device: str = "auto") -> None:
        """Opens and checks the snapshot. Raises NothingToServe and CorruptFile."""
        self._snapshot = Snapshot.open(data_dir)
        self._spec = EncoderSpec.from_dict(self._snapshot.manifest["encoder"])
        self._catalog = Catalog.open(data_dir.catalog_path)
        self._reader = CatalogueReader(data_dir)
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._device = device
        self._engine = QueryEngine.open(self._snapshot, None)
        self._encoder: ImageEncoder | None = None
        self._reads_words = False

    def ask(self, question: Question) -> Asked:
        """The question's vectors. Raises NotFound for an unknown id and BadInput for an unusable picture."""
        self._learn_to_read(question)
        row: int | None = None
        features: Float32Array | None = None
        if question.picture is not None:
            features = self._encode(question.picture)
        elif question.image_id is not None:
            row = self._engine.row_of(question.image_id)
            # An image that is held out has no row in the index, but its features are stored all the same.
            features = self._reader.stored_features(question.image_id, self._spec)
        query = Query(images=features, tags=question.tags, text=question.text, indexed_row=row)
        return Asked(self._engine.embed(query), row)

    def find(self, asked: Asked, visual_weight: float, k: int) -> list[Found]:
        """The best `k` at this stop of the slider, best first, without the queried image itself."""
        hits = self._engine.search(
            asked.vectors, visual_weight, k, exclude=() if asked.row is None else (asked.row,)
        )
        ids = [self._engine.image_ids[row] for row in hits.rows if row >= 0]
        known = self._catalog.find(ids)
        return [
            Found(
                id=image_id,
                score=float(hits.score[i]),
                visual=float(hits.visual[i]),
                conceptual=float(hits.conceptual[i]),
                tags=tuple(tag.name for tag in known[image_id].tags),
            )
            for i, image_id in enumerate(ids)
            if image_id in known  # deleted since the snapshot was made
        ]

    def decoded(self, picture: Path) -> Image.Image:
        """The picture of a query, upright, in RGB. Raises BadInput for what is no usable picture."""
        data = read_picture(picture, self._max_bytes)
        return decode(data, max_bytes=self._max_bytes, max_pixels=self._max_pixels).image

    def thumbnail(self, image_id: str) -> Image.Image | None:
        """The thumbnail of an image of the catalogue, None when there is none or it cannot be read."""
        try:
            with Image.open(self._reader.thumbnail(image_id).path) as picture:
                return picture.convert("RGB")
        except (NotFound, OSError):
            return None

    def _learn_to_read(self, question: Question) -> None:
        """Opens the engine again with the text encoder when the question has words that are no tag."""
        known = {tag_key(name) for name in self._engine.tag_names}
        new_words = question.text or any(tag_key(tag.name) not in known for tag in question.tags)
        if self._reads_words or not new_words:
            return
        recorded = EncoderSpec.from_dict(self._snapshot.manifest["text_encoder"])
        encoder = text_encoder(recorded.name)
        check_same_encoder(recorded, encoder.spec)
        self._engine = QueryEngine.open(self._snapshot, encoder)
        self._reads_words = True

    def _encode(self, picture: Path) -> Float32Array:
        """[1, dim] float32, unit norm: the file's features, by the encoder that made the snapshot's."""
        if self._encoder is None:
            self._encoder = image_encoder(self._spec.name, device=self._device)
            check_same_encoder(self._spec, self._encoder.spec)
        return self._encoder.encode(self._encoder.preprocess(self.decoded(picture))[np.newaxis])
