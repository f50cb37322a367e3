"""What a step of the scale benchmark costs: seconds by phase, and memory at its peak."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graph_store.progress import Advance

_EVERY = 0.05
_GIB = 2**20
_STATUS = Path("/proc/self/status")


def memory_kib(pid: int | None = None) -> dict[str, int]:
    """`VmRSS`, `VmHWM` and `RssAnon` of a process, KiB. The first two count pages of mapped files that happen
    to be in memory, which the system takes back when it needs them; the third does not.
    """
    status = _STATUS if pid is None else Path(f"/proc/{pid}/status")
    found = {}
    for line in status.read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "VmHWM", "RssAnon"):
            found[name] = int(value.split()[0])
    return found


class Meter:
    """A :class:`graph_store.progress.Progress` that remembers how long each phase took. The time between
    phases counts as `other`.
    """

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._phases: dict[str, float] = {}
        self._own_kib = 0
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Take the time of a phase."""
        del total
        began = time.perf_counter()
        yield lambda done: None
        self._phases[name] = self._phases.get(name, 0.0) + time.perf_counter() - began

    def figures(self) -> dict[str, float]:
        """Seconds by phase, in all, and the peaks in GiB: of all resident pages, and of the process's own."""
        self._over.set()
        self._look()
        seconds = time.perf_counter() - self._began
        named = {f"{name}_s": round(took, 2) for name, took in self._phases.items()}
        return {
            **named,
            "other_s": round(seconds - sum(self._phases.values()), 2),
            "seconds": round(seconds, 2),
            "peak_gib": round(memory_kib()["VmHWM"] / _GIB, 2),
            "own_peak_gib": round(self._own_kib / _GIB, 2),
        }

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        self._own_kib = max(self._own_kib, memory_kib()["RssAnon"])
