"""What an ingestion asks of whatever reads and encodes its pictures, and the engine that does it in this
process.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from app.images import MAX_PIXELS, PictureLimits
from app.ingest.features import FeatureMaker, PictureEncoding, feature_maker
from app.ingest.items import SourceItem
from app.ingest.parallel import ordered_map
from app.ingest.prepare import Prepared, prepare
from app.unpacking import UnpackingRoom
from graph_store.arrays import Float32Array
from graph_store.data_dir import DataDir
from graph_store.records import ImageRecord, Skip


@dataclass(frozen=True)
class Recipe:
    """How the pictures of one run are treated. `features` were brought along, and are used instead of
    encoding.
    """

    data_dir: DataDir
    encoder: str
    features: Path | None
    device: str
    keep_originals: bool
    batch_size: int
    limits: PictureLimits = field(default_factory=PictureLimits)


@dataclass(frozen=True)
class Picture:
    """A new or changed image that is still to be read. `mark` is its fingerprint; `given` its feature, [dim],
    where one was brought along.
    """

    item: SourceItem
    mark: str
    given: Float32Array | None


@dataclass(frozen=True)
class Featured:
    """An image that is ready to be stored. `feature`: [dim] float32, unit norm; None when the picture is as
    it was and only its tags or attributes differ: then `record.row` stays.
    """

    record: ImageRecord
    feature: Float32Array | None
    dropped: tuple[Skip, ...] = ()


Outcome = Featured | Skip
Work = Picture | Outcome
"""What is known without reading a picture goes through the engine too, so that the order stays."""


class IngestEngine(Protocol):
    """Every engine gives the same outcomes, features to 1e-5; one suite, `tests/engines`, holds them to
    that.
    """

    def maker(self, recipe: Recipe) -> FeatureMaker:
        """What the features of this run are. Raises BadInput, UnknownName."""

    def outcomes(
        self, work: Iterable[Work], recipe: Recipe, maker: FeatureMaker
    ) -> Generator[Outcome, None, None]:
        """One outcome for each piece of work, in its order; thumbnails are in the data directory by then.

        It may draw work ahead of what it has yielded, but only a bounded amount. A picture that cannot be
        used gives a Skip. Raises Unwritable, Exhausted, EngineFailed.
        """


@dataclass(frozen=True)
class LocalIngest:
    """This process: `workers` threads decode (None: one a core), batches are encoded as they fill."""

    workers: int | None = None
    room: UnpackingRoom = field(default_factory=lambda: UnpackingRoom(MAX_PIXELS))

    def maker(self, recipe: Recipe) -> FeatureMaker:
        """As the protocol has it."""
        return feature_maker(recipe.encoder, recipe.features, recipe.device)

    def outcomes(
        self, work: Iterable[Work], recipe: Recipe, maker: PictureEncoding
    ) -> Generator[Outcome, None, None]:
        """As the protocol has it."""
        done = ordered_map(
            partial(self._prepared, recipe=recipe, maker=maker),
            work,
            workers=max(1, self.workers or os.cpu_count() or 1),
            ahead=2 * recipe.batch_size,
        )
        waiting: list[Prepared | Outcome] = []
        with closing(done):
            for one in done:
                waiting.append(one)
                if len(waiting) >= recipe.batch_size:
                    yield from _encoded(waiting, maker)
                    waiting.clear()
        yield from _encoded(waiting, maker)

    def _prepared(self, work: Work, recipe: Recipe, maker: PictureEncoding) -> Prepared | Outcome:
        if not isinstance(work, Picture):
            return work
        return prepare(
            work.item,
            work.mark,
            data_dir=recipe.data_dir,
            preprocess=partial(maker.input, given=work.given),
            keep_originals=recipe.keep_originals,
            limits=recipe.limits,
            room=self.room,
        )


def _encoded(some: list[Prepared | Outcome], maker: PictureEncoding) -> list[Outcome]:
    """The same with features for inputs, all encoded at once."""
    inputs = [one.input for one in some if isinstance(one, Prepared)]
    vectors = iter(maker.vectors(np.stack(inputs)) if inputs else ())
    return [
        Featured(one.record, next(vectors), one.dropped) if isinstance(one, Prepared) else one for one in some
    ]
