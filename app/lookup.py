"""Asks a data directory a question from the command line: opened, asked, dropped.

It answers as the service does: from the current snapshot and all that was stored or removed since. The
service keeps encoders warm and batches queries; a command asks once, so here an encoder is loaded only when
the question needs it: a file needs the image encoder, words that are no tag need the text encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from PIL import Image

from app.catalogue_reader import CatalogueReader
from app.images import decode
from app.live.keeper import DeltaKeeper
from app.picture_file import read_picture
from app.serving_state import ServingState
from gnn.encoders.base import EncoderSpec, ImageEncoder, check_same_encoder
from gnn.encoders.lazy import LazyTextEncoder
from gnn.encoders.registry import image_encoder
from gnn.query import Query, QueryEngine, QueryTag, QueryVectors
from graph_store.arrays import Float32Array
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, ImsageError, NothingToServe
from graph_store.milvus_server import MilvusServer
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot, last_good


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
    """The current snapshot of a data directory, and what the catalogue has beyond it."""

    def __init__(
        self,
        data_dir: DataDir,
        *,
        max_bytes: int,
        max_pixels: int,
        device: str = "auto",
        milvus: MilvusServer | None = None,
    ) -> None:
        """Opens and checks the snapshot, or where that is damaged or not named any more the last good one;
        `problem` says so then, and why what was written since is not known, where it cannot be. Raises
        NothingToServe, CorruptFile, and what opening an index in Milvus raises.
        """
        problems: list[str] = []
        try:
            snapshot = Snapshot.open(data_dir)
        except (CorruptFile, NothingToServe) as error:
            try:
                snapshot = last_good(data_dir)
            except NothingToServe:
                raise error from None
            problems.append(f"{error} (this is answered from the last good snapshot, {snapshot.version})")
        self._reader = CatalogueReader(data_dir)
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._device = device
        self._encoder: ImageEncoder | None = None
        words = snapshot.manifest.get("text_encoder")
        encoder = None if words is None else LazyTextEncoder(EncoderSpec.from_dict(words), device=device)
        opened = ServingState(
            snapshot, QueryEngine.open(snapshot, encoder, milvus), RecordTable.open(snapshot.path("records"))
        )
        keeper = DeltaKeeper(data_dir, self._reader)
        self._state = keeper.revised(opened)
        if keeper.problem:
            problems.append(f"what was written since the last reindex is left out: {keeper.problem}")
        self.problem = "; ".join(problems)

    def ask(self, question: Question) -> Asked:
        """The question's vectors. Raises NotFound for an unknown id and BadInput for an unusable picture."""
        engine = self._state.engine
        row: int | None = None
        features: Float32Array | None = None
        if question.picture is not None:
            features = self._encode(question.picture)
        elif question.image_id is not None:
            row = engine.row_of(question.image_id)
            if row is None:
                # It is held out of the index, but its features are stored all the same.
                features = self._reader.stored_features(question.image_id, self._state.encoder_spec)
        query = Query(images=features, tags=question.tags, text=question.text, indexed_row=row)
        return Asked(engine.embed(query), row)

    def find(self, asked: Asked, visual_weight: float, k: int) -> list[Found]:
        """The best `k` at this stop of the slider, best first, without the queried image itself."""
        engine = self._state.engine
        exclude = () if asked.row is None else (asked.row,)
        hits = engine.search(asked.vectors, visual_weight, k, exclude=exclude)
        rows = [row for row in hits.rows.tolist() if row >= 0]
        return [
            Found(
                id=engine.image_ids[row],
                score=float(hits.score[place]),
                visual=float(hits.visual[place]),
                conceptual=float(hits.conceptual[place]),
                tags=tuple(tag["name"] for tag in orjson.loads(shown)["tags"]),
            )
            for place, (row, shown) in enumerate(zip(rows, self._state.fragments(rows), strict=True))
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
        except (ImsageError, OSError):
            # Also where the whole catalogue is gone or damaged: what was found is told without it.
            return None

    def _encode(self, picture: Path) -> Float32Array:
        """[1, dim] float32, unit norm: the file's features, by the encoder that made the snapshot's."""
        if self._encoder is None:
            spec = self._state.encoder_spec
            self._encoder = image_encoder(spec.name, device=self._device)
            check_same_encoder(spec, self._encoder.spec)
        return self._encoder.encode(self._encoder.preprocess(self.decoded(picture))[np.newaxis])
