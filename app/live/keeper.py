"""Keeps what is served up to what the catalogue holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import structlog

from app.catalogue_reader import CatalogueReader
from app.ingest.store import ENCODER_KEY
from app.live.delta import Delta
from app.live.state import LiveState
from app.serving_state import ServingState
from gnn.encoders.base import EncoderSpec, check_same_encoder
from gnn.reindex import revision_taken_in
from graph_store.arrays import Float32Array
from graph_store.catalog import Catalog
from graph_store.catalog_changes import Changes
from graph_store.data_dir import DataDir
from graph_store.errors import EncoderMismatch, ImsageError
from graph_store.exhaustion import exhausted
from graph_store.features import FeatureFile
from graph_store.records import Place


def _sound(changes: Changes, file: FeatureFile) -> Changes:
    """The same changes; a picture whose features were damaged on the disk is not found until it is stored
    again, and costs the others nothing.
    """
    places = [
        Place(image_id, change.record.row, change.record.sha256)
        for image_id, change in changes.by_id.items()
        if change.record is not None
    ]
    damaged = set(file.damaged([place.row for place in places]))
    lost = [place.id for place in places if place.row in damaged]
    if not lost:
        return changes
    structlog.get_logger().error("features_damaged", path=str(file.path), images=lost[:20], count=len(lost))
    return _without(changes, lost)


def _without(changes: Changes, ids: Iterable[str]) -> Changes:
    """The same changes, as if those pictures had been removed."""
    removed = {image_id: replace(changes.by_id[image_id], record=None) for image_id in ids}
    return replace(changes, by_id={**changes.by_id} | removed)


def _encoder_of(catalog: Catalog) -> EncoderSpec:
    return EncoderSpec.from_dict(catalog.meta(ENCODER_KEY))


def _unlike(served: EncoderSpec, recorded: EncoderSpec) -> str:
    """Why pictures of the catalogue cannot be served beside those of a snapshot; empty where they can."""
    try:
        check_same_encoder(served, recorded)
    except EncoderMismatch as error:
        return str(error)
    return ""


class DeltaKeeper:
    """Brings states up to the catalogue's revision, whoever wrote: this process, another worker or a command.

    A catalogue that cannot be read costs nobody a search: the state stays as it is, and the log says why.
    `on_change` is called when `problem` has changed.
    """

    def __init__(
        self,
        data_dir: DataDir,
        catalogue: CatalogueReader,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._data_dir = data_dir
        self._catalogue = catalogue
        self._on_change = on_change
        self._complaint = ""
        # The revisions between which nothing differs from a snapshot, so that they are read only once.
        self._nothing: WeakKeyDictionary[ServingState, tuple[int, int]] = WeakKeyDictionary()

    @property
    def problem(self) -> str:
        """Why searches may not know what was written lately; empty when all is well."""
        return self._complaint

    def revised(self, state: ServingState) -> ServingState:
        """The state of the same snapshot that knows every change; `state` itself when it does already."""
        try:
            catalog = self._catalogue.catalog
            revised = self._revised(state, catalog)
            complaint = (
                _unlike(state.encoder_spec, _encoder_of(catalog)) if isinstance(revised, LiveState) else ""
            )
        except ImsageError as error:
            self._complain(str(error))
            return state
        except Exception as error:
            # Each search asks for this first: whatever it is, they go on, and the next poll tries again.
            lacking = exhausted(error)
            told = str(lacking) if lacking else f"changes cannot be read: {type(error).__name__}: {error}"
            self._complain(told, fault=lacking is None)
            return state
        self._complain(complaint)
        return revised

    def follows(self, state: ServingState) -> bool:
        """Whether what was written after the state can still be told. What a snapshot that is kept needs is
        remembered; one that a server alone still holds may have been left behind.
        """
        try:
            catalog = self._catalogue.catalog
            if isinstance(state, LiveState):
                return catalog.remembers_after(state.delta.revision)
            return catalog.remembers_after(revision_taken_in(catalog, state.snapshot))
        except ImsageError:
            return True

    def _complain(self, complaint: str, *, fault: bool = False) -> None:
        if complaint == self._complaint:
            return
        self._complaint = complaint
        if complaint:
            structlog.get_logger().error("changes_not_read", reason=complaint, exc_info=fault)
        self._on_change()

    def _revised(self, state: ServingState, catalog: Catalog) -> ServingState:
        base = state.base if isinstance(state, LiveState) else state
        newest = catalog.revision()
        if isinstance(state, LiveState):
            delta = state.delta
        else:
            delta = self._nothing_since(base, revision_taken_in(catalog, base.snapshot), newest)
        if delta.revision == newest:
            return state
        changes = catalog.changes(delta.revision)
        # Asked after the changes were read, so that each of them is of this encoder.
        recorded = _encoder_of(catalog)
        if _unlike(base.encoder_spec, recorded):
            # The catalogue was emptied before another encoder filled it: what was removed must not come back.
            none: Float32Array = np.zeros((0, base.encoder_spec.dim), dtype=np.float32)
            revised = delta.after(base.engine, _without(changes, changes.by_id), none)
        else:
            # Opened after the changes were read, so that the features of all of them are there.
            file = FeatureFile.open(self._data_dir.features_dir, recorded.slug, recorded.dim)
            revised = delta.after(base.engine, _sound(changes, file), file.view())
        if not revised.is_empty:
            return LiveState.of(base, revised)
        self._nothing[base] = revised.since, revised.revision
        return base

    def _nothing_since(self, base: ServingState, since: int, newest: int) -> Delta:
        """The empty delta that holds longest, as far as is known."""
        known_since, upto = self._nothing.get(base, (since, since))
        # A catalogue that was put back to a copy says other things under the same numbers.
        known = known_since == since and upto <= newest
        return replace(Delta.empty(base.engine, since), revision=upto if known else since)
