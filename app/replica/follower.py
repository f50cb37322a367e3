"""Keeps a replica at the snapshot that is published."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from app.serving_state import ServingState
from app.settings import Settings
from graph_store.data_dir import DataDir
from graph_store.errors import CorruptFile, DataDirBusy, ImsageError
from graph_store.snapshot_fetch import Fetched, FetchStopped, fetch_current
from graph_store.snapshot_store import SnapshotStore

_BUSY_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 600.0


def follower_of(
    settings: Settings, damaged: Callable[[], bool], on_change: Callable[[], None]
) -> Follower | None:
    """What the settings ask for: None where the server is no replica."""
    store = settings.store
    if not settings.replica or store is None:
        return None
    return Follower(
        store,
        settings.data_dir,
        keep=settings.keep_snapshots,
        seconds=settings.replica_poll_seconds,
        damaged=damaged,
        on_change=on_change,
    )


class Follower:
    """A thread that looks at the store every `seconds`, fetches what is new into `data_dir` and makes it
    current there; what serves from the data directory then moves over by itself.

    `damaged` says whether what is current here cannot be served, so that it is fetched again although the
    version is the same. `on_change` is called when `problem` has changed.
    """

    def __init__(
        self,
        store: SnapshotStore,
        data_dir: DataDir,
        *,
        keep: int,
        seconds: float,
        damaged: Callable[[], bool] = lambda: False,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._data_dir = data_dir
        self._keep = keep
        self._seconds = seconds
        self._damaged = damaged
        self._on_change = on_change
        self._clock = clock
        self._complaint = ""
        self._refused: str | None = None
        self._refusal = ""
        self._mended: str | None = None
        self._pause = 0.0
        self._again = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replica", daemon=True)

    @property
    def awaited(self) -> str:
        """Why there may be nothing to serve yet."""
        return self._complaint or "the published snapshot is still on its way"

    @property
    def problem(self) -> str:
        """Why what is served may not be what is published; empty when all is well."""
        return self._complaint

    def revised(self, state: ServingState) -> ServingState:
        """The state itself: a replica knows of no changes beside its snapshot."""
        return state

    def follows(self, state: ServingState) -> bool:
        """Always: there are no changes that it could miss."""
        del state
        return True

    def start(self) -> None:
        """Look at once, and then now and then, until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Look no more; a fetch under way stops and is taken up by the next start."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> Fetched | None:
        """One look; what it has fetched, if anything. What goes wrong stands in `problem`. Raises
        DataDirBusy while another process of this machine is at it.
        """
        published: str | None = None
        try:
            published = self._store.current()
            if published is not None and published == self._refused and self._clock() < self._again:
                self._complain(self._refusal)  # it would be refused again, after as many bytes
                return None
            fetched = fetch_current(
                self._store,
                self._data_dir,
                self._keep,
                again=published != self._mended and self._damaged(),
                stopped=self._over.is_set,
            )
        except (DataDirBusy, FetchStopped):
            raise
        except CorruptFile as error:
            self._refuse(published, str(error))
            self._complain(str(error))
            return None
        except ImsageError as error:
            self._complain(str(error))
            return None
        self._refused, self._pause = None, 0.0
        self._complain("")
        if fetched is not None:
            # Its files are as published now: what cannot be served for all that is not fetched for ever.
            self._mended = fetched.version
            structlog.get_logger().info(
                "snapshot_fetched", version=fetched.version, files=fetched.files, bytes=fetched.size
            )
        return fetched

    def _refuse(self, version: str | None, refusal: str) -> None:
        """Let ever more time pass before the same version is tried again; another one is tried at once."""
        self._pause = self._seconds if version != self._refused else 2 * self._pause
        self._pause = min(self._pause, max(self._seconds, _LONGEST_PAUSE_SECONDS))
        self._refused, self._refusal = version, refusal
        self._again = self._clock() + self._pause

    def _complain(self, complaint: str) -> None:
        if complaint == self._complaint:
            return
        self._complaint = complaint
        if complaint:
            structlog.get_logger().error("replica_behind", reason=complaint)
        self._on_change()

    def _run(self) -> None:
        pause = 0.0
        while not self._over.wait(pause):
            pause = self._seconds
            try:
                self.look()
            except DataDirBusy:
                pause = min(pause, _BUSY_SECONDS)
            except FetchStopped:
                return
            except Exception as error:
                # Whoever stops looking would never serve anything new again.
                structlog.get_logger().exception("replica_failed")
                # Its words may hold what logs in to the store, and everybody is shown the problem.
                self._complain(
                    f"a look at what is published has failed ({type(error).__name__}); the log says more"
                )
