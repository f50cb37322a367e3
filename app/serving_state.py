"""What one answer is made from, and how a running service moves from one snapshot to the next.

An answer takes one `ServingState` at its start and uses nothing else, so it can never mix two snapshots.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import structlog

from app.filtering import FilterIndex, Filters
from app.kept_rows import KeptRows
from app.neighbours import Edges, NamedEdge, named, neighbours_as_json
from app.tag_completion import TagCompletion
from gnn.encoders.base import EncoderSpec, TextEncoder
from gnn.graph_index import milvus_collection
from gnn.query import QueryEngine
from graph_store.arrays import Int64Array
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, Exhausted, ImsageError, NothingToServe
from graph_store.exhaustion import exhausted
from graph_store.milvus_server import IndexUnreachable, MilvusServer
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot
from graph_store.snapshot_files import OtherSchema, UnreadableFile, versions
from graph_store.tag_names import tag_key

_KEPT_OLD_STATES = 2
_AGAIN_AFTER_SECONDS = 5.0
_READ_AGAIN_AFTER_SECONDS = 60.0
"""Rights are put right and shares come back, but each try may read gigabytes up to the file in the way."""
_NO_ROWS: Int64Array = np.zeros(0, dtype=np.int64)


class Pace:
    """How long a search by id takes here lately: whether the event loop may do it or a thread should."""

    _QUICK_SECONDS = 0.002
    _WEIGHT_OF_NEW = 0.1

    def __init__(self) -> None:
        # The first search meets cold memory maps, so it goes to a thread.
        self._seconds = 1.0
        self._measured = False

    @property
    def is_quick(self) -> bool:
        """Whether a hop to a thread would cost more than it frees."""
        return self._seconds < self._QUICK_SECONDS

    def record(self, seconds: float) -> None:
        """Take the processor time of one search into the moving average: other programs shall not sway it."""
        if self._measured:
            seconds = self._seconds + self._WEIGHT_OF_NEW * (seconds - self._seconds)
        self._measured = True
        self._seconds = seconds


@dataclass(frozen=True, eq=False)
class ServingState:
    """One opened snapshot with everything that is derived from it. Nothing in it changes, but what is built
    lazily.
    """

    snapshot: Snapshot
    engine: QueryEngine
    records: RecordTable
    pace: Pace = field(default_factory=Pace)
    kept_rows: KeptRows = field(default_factory=KeptRows)

    @property
    def is_quick(self) -> bool:
        """Whether the event loop may search by itself: it neither computes long nor waits for a server."""
        return self.engine.is_local and self.pace.is_quick

    @property
    def version(self) -> str:
        """The snapshot's version."""
        return self.snapshot.version

    @cached_property
    def encoder_spec(self) -> EncoderSpec:
        """The encoder that made the snapshot's features."""
        return EncoderSpec.from_dict(self.snapshot.manifest["encoder"])

    @cached_property
    def tag_numbers(self) -> dict[str, int]:
        """Tag index by `tag_key` of its name."""
        return {tag_key(name): number for number, name in enumerate(self.engine.tag_names)}

    @property
    def delta_counts(self) -> dict[str, int]:
        """What the catalogue holds beyond the snapshot."""
        return {"images": 0, "replaced": 0, "deleted": 0}

    @cached_property
    def tag_counts(self) -> dict[str, int]:
        """How many images carry each tag."""
        return dict(zip(self.engine.tag_names, self.engine.tag_counts, strict=True))

    @cached_property
    def completion(self) -> TagCompletion:
        """Tags by the beginnings of their words."""
        return TagCompletion(tuple(self.tag_counts), tuple(self.tag_counts.values()))

    @cached_property
    def filters(self) -> Filters:
        """Filters over the rows that can be found."""
        # Only parts of the state are closed over. Through the state itself there would be a cycle, and the
        # files of a snapshot that nobody uses any more would stay open until the garbage collector comes by.
        carried, records, numbers = self.engine.carried, self.records, self.tag_numbers
        num_rows = self.engine.num_images

        def rows_of_tag(name: str) -> Int64Array:
            number = numbers.get(tag_key(name))
            return _NO_ROWS if number is None else carried.of_tag.row(number)[0]

        return FilterIndex(
            num_rows=num_rows,
            rows_of_tag=rows_of_tag,
            tagged=lambda: np.flatnonzero(carried.of_image.degrees()).astype(np.int64, copy=False),
            attributes=lambda: (orjson.loads(records.fragment(row))["attributes"] for row in range(num_rows)),
            kept=self.kept_rows,
        )

    def fragments(self, rows: Sequence[int]) -> list[bytes]:
        """What hits show, as JSON objects."""
        return self.records.fragments(rows)

    def neighbours(self, row: int) -> dict[str, Any]:
        """The edges of an image, as JSON values."""
        engine = self.engine
        tags = named(engine.carried.of_image.row(row), engine.tag_names)
        return self._neighbours(row, engine.graph.similar.row(row), tags)

    def _neighbours(self, row: int, similar: Edges, tags: Sequence[NamedEdge]) -> dict[str, Any]:
        ids, names = self.engine.image_ids, self.engine.tag_names
        numbers = {
            name: self.tag_numbers[tag_key(name)] for name, _ in tags if tag_key(name) in self.tag_numbers
        }
        edges = neighbours_as_json(similar, tags, self.engine.graph.related, ids, names, numbers)
        return {"id": ids[row], **edges, "index_version": self.version}


@dataclass(eq=False)
class ServingStates:
    """The state that is served now, and lately served ones for cursors that are pinned to them.

    `refresh` does the work (seconds, when there is a new snapshot); call it off the event loop. `current`
    never waits. `revised` gives a state of the same snapshot that knows what was written since, and `follows`
    says whether that can still be known. `awaited`
    says why there is nothing yet where snapshots come from elsewhere; empty where they do not.
    """

    data_dir: DataDir
    text_encoder: Callable[[Snapshot], TextEncoder | None]
    on_change: Callable[[], None] = field(default=lambda: None)
    revised: Callable[[ServingState], ServingState] = field(default=lambda state: state)
    follows: Callable[[ServingState], bool] = field(default=lambda state: True)
    milvus: MilvusServer | None = None
    awaited: Callable[[], str] = field(default=lambda: "")

    def __post_init__(self) -> None:
        self._state: ServingState | None = None
        self._problem: str = "the service has only just started"
        self._refused = False
        # No signature is equal to this, so the first look is a change.
        self._seen: object = object()
        self._again_at = math.inf
        self._old: OrderedDict[str, ServingState] = OrderedDict()
        # Versions that were read as a whole, and wait for Milvus only: not all is read again at each try.
        self._whole: set[str] = set()
        # All snapshots that are held share it, and what was written beside them.
        self._kept_rows = KeptRows()
        # Opening a snapshot takes seconds; what is served is revised meanwhile.
        self._opening = threading.Lock()
        self._lock = threading.Lock()

    @property
    def current(self) -> ServingState:
        """The state to answer from. Raises NothingToServe."""
        state = self._state
        if state is None:
            awaited = self.awaited()
            if awaited:
                raise NothingToServe(f"There is nothing to serve: {awaited}")
            raise NothingToServe(
                f"There is nothing to serve: {self._problem}", hint="Build an index with `imsage build`."
            )
        return state

    @property
    def serving(self) -> ServingState | None:
        """The state to answer from, None where there is none."""
        return self._state

    @property
    def problem(self) -> str:
        """Why the newest snapshot is not what is served; empty when all is well."""
        return self._problem

    @property
    def refused(self) -> bool:
        """Whether the last look at CURRENT ended with the refusal of a damaged snapshot."""
        return self._refused

    def changed(self) -> bool:
        """Whether CURRENT is another file than `refresh` last looked at, or whether it is time to look again,
        since what was in the way may be gone. It reads a few bytes.
        """
        return self._signature() != self._seen or time.monotonic() >= self._again_at

    def refresh(self) -> None:
        """Serve what CURRENT names; when that cannot be served, whatever the reason, go on with what is
        served, or else with the last good one.
        """
        with self._opening:
            seen = self._signature()
            if seen != self._seen:
                self._whole.clear()
            self._seen = seen
            self._again_at = math.inf
            self._refused = False
            try:
                self._move_to(self._read())
                self._problem = ""
            except Exception as error:
                told = error if isinstance(error, ImsageError) else exhausted(error)
                if told is None or isinstance(told, IndexUnreachable):
                    self._again_at = time.monotonic() + _AGAIN_AFTER_SECONDS
                elif isinstance(told, UnreadableFile):
                    self._again_at = time.monotonic() + _READ_AGAIN_AFTER_SECONDS
                self._refused = isinstance(told, CorruptFile) and not isinstance(told, OtherSchema)
                if told is None:
                    self._problem = f"the newest snapshot cannot be opened: {type(error).__name__}: {error}"
                    structlog.get_logger().exception("snapshot_refused", reason=self._problem)
                else:
                    self._problem = str(told)
                    structlog.get_logger().error("snapshot_refused", reason=self._problem)
                if isinstance(told, Exhausted):
                    # Nothing is wrong with the snapshot: the next look may well open it.
                    self._seen = object()
                if self._state is None:
                    self._fall_back()
            self.on_change()

    def revise(self) -> None:
        """Take in what was written to the catalogue; when this returns, searches know it."""
        with self._lock:
            state = self._state
            revised = None if state is None else self.revised(state)
            if revised is not state:
                self._state = revised
                self.on_change()

    def close(self) -> None:
        """Let go of all snapshots."""
        with self._opening, self._lock:
            self._state = None
            self._problem = "the service has stopped"
            self._old.clear()

    def pinned(self, version: str) -> ServingState | None:
        """The state of that version: served now or lately, or opened from the disk again; None when it is
        gone. Raises Exhausted, UnreadableFile, and IndexUnreachable while the server does not answer that its
        vectors are in.
        """
        state = self._state
        if state is not None and state.version == version:
            return state
        with self._opening:
            known = self._old.get(version)
            opened = self._opened_again(version) if known is None else known
            if opened is None:
                return None
            with self._lock:
                revised = self.revised(opened)
                # Asked last, for what was forgotten meanwhile. A removed picture must not come back.
                if not self.follows(opened):
                    self._old.pop(version, None)
                    return None
                self._keep(revised)
            return revised

    def _opened_again(self, version: str) -> ServingState | None:
        try:
            snapshot = self._read(version)
            try:
                return self._open(snapshot)
            except IndexUnreachable:
                # A server that is away may come back; one that answers has dropped the collection for good.
                if self._is_in_milvus(snapshot):
                    raise
                return None
        except (Exhausted, IndexUnreachable, UnreadableFile):
            raise  # nothing is known of the snapshot: the next try may well open it
        except (ImsageError, FileNotFoundError):
            return None  # damaged, or removed while it was opened

    def _is_in_milvus(self, snapshot: Snapshot) -> bool:
        """Whether the vectors of a snapshot that is searched in Milvus are there. Raises IndexUnreachable."""
        collection = milvus_collection(snapshot)
        return self.milvus is not None and collection is not None and self.milvus.has(collection)

    def _signature(self) -> object:
        path = self.data_dir.current_path
        try:
            # What it names as well: after two swaps in one tick of the clock the rest may be as it was.
            stat, named = path.stat(), path.read_bytes()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, named

    def _fall_back(self) -> None:
        """Serve the newest snapshot that is whole and can be opened; the log says why there is none."""
        reasons: list[str] = []
        try:
            for version in reversed(versions(self.data_dir)):
                try:
                    self._move_to(self._read(version))
                    return
                except Exception as error:
                    reasons.append(f"{version}: {error or type(error).__name__}")
        except ImsageError as error:
            reasons.append(str(error))
        structlog.get_logger().error("no_snapshot_to_fall_back_to", reasons=reasons)

    def _move_to(self, snapshot: Snapshot) -> None:
        before = self._state
        if before is not None and before.version == snapshot.version:
            return
        opened = self._open(snapshot)
        with self._lock:
            # What was written while it was opened is known to the state before, so it must be to this one.
            before, self._state = self._state, self.revised(opened)
            state = self._state
            if before is not None:
                self._keep(before)
        structlog.get_logger().info(
            "snapshot_served",
            version=snapshot.version,
            images=state.engine.num_images,
            before=before.version if before else None,
        )

    def _read(self, version: str | None = None) -> Snapshot:
        """The current snapshot, or one of a version, which is whole. Raises as Snapshot.open does."""
        snapshot = Snapshot.open(self.data_dir, version, verify=False)
        return snapshot if snapshot.version in self._whole else Snapshot.open(self.data_dir, version)

    def _open(self, snapshot: Snapshot) -> ServingState:
        text_encoder = self.text_encoder(snapshot)
        try:
            engine = QueryEngine.open(snapshot, text_encoder, self.milvus)
        except IndexUnreachable:
            self._whole.add(snapshot.version)
            raise
        self._whole.discard(snapshot.version)
        opened = ServingState(
            snapshot,
            engine,
            RecordTable.open(snapshot.path("records"), tuple(engine.image_ids)),
            kept_rows=self._kept_rows,
        )
        # In proportion to the vocabulary, so not on the event loop, which looks up the words of questions.
        _ = opened.tag_numbers
        return self.revised(opened)

    def _keep(self, state: ServingState) -> None:
        self._old[state.version] = state
        self._old.move_to_end(state.version)
        while len(self._old) > _KEPT_OLD_STATES:
            self._old.popitem(last=False)
