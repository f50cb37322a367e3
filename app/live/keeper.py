"""Keeps what is served up to what the catalogue holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from app.catalogue_reader import CatalogueReader
from app.live.delta import Delta
from app.live.state import LiveState
from app.serving_state import ServingState
from gnn.encoders.base import EncoderSpec, check_same_encoder
from gnn.reindex import revision_taken_in
from graph_store.catalog import Catalog
from graph_store.catalog_changes import Changes
from graph_store.data_dir import DataDir
from graph_store.errors import ImsageError
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
    by_id = {**changes.by_id} | {image_id: replace(changes.by_id[image_id], record=None) for image_id in lost}
    return replace(changes, by_id=by_id)


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

    @property
    def problem(self) -> str:
        """Why searches may not know what was written lately; empty when all is well."""
        return self._complaint

    def revised(self, state: ServingState) -> ServingState:
        """The state of the same snapshot that knows every change; `state` itself when it does already."""
        try:
            revised = self._revised(state, self._catalogue.catalog)
        except ImsageError as error:
            self._complain(str(error))
            return state
        self._complain("")
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

    def _complain(self, complaint: str) -> None:
        if complaint == self._complaint:
            return
        self._complaint = complaint
        if complaint:
            structlog.get_logger().error("changes_not_read", reason=complaint)
        self._on_change()

    def _revised(self, state: ServingState, catalog: Catalog) -> ServingState:
        base = state.base if isinstance(state, LiveState) else state
        newest = catalog.revision()
        if isinstance(state, LiveState):
            delta = state.delta
        else:
            delta = Delta.empty(base.engine, revision_taken_in(catalog, base.snapshot))
        if delta.revision == newest:
            return state
        recorded = EncoderSpec.from_dict(catalog.meta("image_encoder"))
        check_same_encoder(base.encoder_spec, recorded)
        changes = catalog.changes(delta.revision)
        # Opened after the changes were read, so that the features of all of them are there.
        file = FeatureFile.open(self._data_dir.features_dir, recorded.slug, recorded.dim)
        revised = delta.after(base.engine, _sound(changes, file), file.view())
        return base if revised.is_empty else LiveState.of(base, revised)
