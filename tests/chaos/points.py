"""Where a process can be killed: every step in which it changes its files, and every phase that it reports.

A point is named by what is done to what, before it and after it: `before fsync features/#.f32`. Numbers and
hashes in names are one `#`, so that the same step of two runs is one point. Nothing of this is in the
product: the calls that it makes anyway are wrapped, in a process that is there to be killed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.ingest import prepare
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.progress import Advance

# The two hexadecimal digits are the folders of blobs, which are named by what is in them.
_VARYING = re.compile(r"(?<=/)[0-9a-f]{2}(?=/|$)|\d{6}-[0-9a-f]{8}|[0-9a-f]{8,}|\d+")


def name_of(path: Path) -> str:
    """One name for the file of a step in all runs, whatever the numbers and hashes in its own."""
    return _VARYING.sub("#", path.as_posix()) or "."


class Points:
    """Counts the points that a process comes by, notes their names in the file `seen`, and kills the process
    at the so-manyeth visit of one of them.
    """

    def __init__(
        self, data_dir: DataDir, *, die_at: tuple[str, int] | None = None, seen: Path | None = None
    ) -> None:
        self._root = data_dir.root
        self._die_at = die_at
        self._seen = seen
        self._visits: Counter[str] = Counter()
        self._guard = threading.Lock()

    def visit(self, name: str) -> None:
        """The process is at the point `name` now."""
        with self._guard:
            self._visits[name] += 1
            if self._seen is not None:
                with self._seen.open("a", encoding="utf-8") as file:
                    file.write(f"{name}\n")
            if self._die_at == (name, self._visits[name]):
                os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """This is a `Progress`: each phase has a point at its beginning, at each step and at its end."""
        del total
        self.visit(f"beginning of {name}")
        yield lambda done: self.visit(f"within {name}")
        self.visit(f"end of {name}")

    def watch_files(self) -> None:
        """From now on every change of a file of the data directory has a point before it and one after."""
        for owner, call in (
            (os, "fsync"),
            (os, "truncate"),
            (Path, "rename"),
            (Path, "replace"),
            (Path, "unlink"),
            (shutil, "rmtree"),
            (prepare, "write_blob"),
            (FeatureFile, "write"),
            (Catalog, "upsert"),
            (Catalog, "delete"),
            (Catalog, "add_skips"),
            (Catalog, "set_meta"),
            (Catalog, "begin_anew"),
            (Catalog, "forget_changes"),
        ):
            setattr(owner, call, self._watched(getattr(owner, call), call, owner is Catalog))

    def _watched(self, call: Callable[..., Any], name: str, of_catalogue: bool) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            what = "the catalogue" if of_catalogue else self._place(args[0])
            if what is None:
                return call(*args, **kwargs)
            self.visit(f"before {name} {what}")
            result = call(*args, **kwargs)
            self.visit(f"after {name} {what}")
            return result

        return watched

    def _place(self, what: Any) -> str | None:
        """A name for a file of the data directory; None for one that lies elsewhere."""
        if isinstance(what, FeatureFile):
            what = what.path
        path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else Path(what)
        if not path.is_relative_to(self._root):
            return None
        return name_of(path.relative_to(self._root))
