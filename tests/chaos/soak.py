"""Mixed traffic for a long time: does the server's memory or its number of open files grow?

    python -m tests.chaos.soak --minutes 30

A catalogue of drawn shapes is built and served by a process of its own. Visitors do a bit of everything and a
reindex runs now and then, which folds the written pictures in: what is stored stays bounded, so memory must
as well. After a warm-up the resident memory that no file backs (`RssAnon`: mapped pages of the index are the
index) is fitted by a straight line over the requests answered. Exits with 1 when it grows by a kilobyte a
request or more, when file handles grow, or at the first answer that is not the expected one.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.progress import SilentProgress
from tests.api.test_serve import started
from tests.chaos.traffic import Visitor
from tests.shapes import write_shapes

MOST_BYTES_A_REQUEST = 1024.0
MOST_NEW_HANDLES = 2.0
_JOB_SECONDS = 300.0


@dataclass(frozen=True)
class Sample:
    """One look at the server. Sizes in bytes."""

    seconds: float
    requests: int
    anonymous: int
    resident: int
    handles: int
    threads: int


@dataclass(frozen=True)
class Verdict:
    """What a soak found. The slope is of anonymous memory, in bytes a request, with its standard error."""

    seconds: float
    requests: int
    reindexes: int
    slope: float
    slope_error: float
    first: Sample
    last: Sample
    new_handles: float
    calls: Counter[str]

    @property
    def sound(self) -> bool:
        """Whether nothing grows."""
        return self.slope < MOST_BYTES_A_REQUEST and self.new_handles <= MOST_NEW_HANDLES

    def __str__(self) -> str:
        calls = ", ".join(f"{name} {count}" for name, count in sorted(self.calls.items()))
        return (
            f"{self.requests:,} requests and {self.reindexes} reindexes in {self.seconds / 60:.1f} minutes\n"
            f"anonymous memory: {_mib(self.first.anonymous)} after the warm-up, {_mib(self.last.anonymous)} "
            f"at the end; slope {self.slope:+.0f} ± {self.slope_error:.0f} bytes a request\n"
            f"resident memory: {_mib(self.first.resident)}, {_mib(self.last.resident)}\n"
            f"open files: {self.first.handles}, {self.last.handles} (medians differ by "
            f"{self.new_handles:+.1f}); threads: {self.first.threads}, {self.last.threads}\n"
            f"{calls}"
        )


def soak(
    client: httpx.Client,
    pid: int,
    known: list[str],
    *,
    seconds: float,
    warm_up: float,
    reindex_every: float,
    look_every: float,
    visitors: int = 3,
) -> Verdict:
    """Visit a server for so many seconds after the warm-up. pid: of its only process."""
    crowd = [Visitor(client, f"visitor-{n}", known, seed=n) for n in range(visitors)]
    over = threading.Event()
    failures: list[BaseException] = []
    reindexes = 0

    def visit(visitor: Visitor) -> None:
        try:
            visitor.move_in()
            while not over.is_set():
                visitor.call()
        except BaseException as error:
            failures.append(error)
            over.set()

    def reindex_now_and_then() -> None:
        nonlocal reindexes
        try:
            while not over.wait(reindex_every):
                _reindex(client, full=reindexes % 2 == 0)
                reindexes += 1
        except BaseException as error:
            failures.append(error)
            over.set()

    samples: list[Sample] = []
    threads = [threading.Thread(target=visit, args=(visitor,)) for visitor in crowd]
    threads.append(threading.Thread(target=reindex_now_and_then))
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        while not over.wait(look_every) and time.monotonic() - begin < warm_up + seconds:
            requests = sum(visitor.requests for visitor in crowd)
            samples.append(look(pid, time.monotonic() - begin, requests))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    calls = sum((visitor.calls for visitor in crowd), Counter[str]())
    return judge([sample for sample in samples if sample.seconds >= warm_up], reindexes, calls)


def judge(samples: Sequence[Sample], reindexes: int, calls: Counter[str]) -> Verdict:
    """A straight line through what was seen after the warm-up."""
    requests = np.array([sample.requests for sample in samples], dtype=np.float64)
    memory = np.array([sample.anonymous for sample in samples], dtype=np.float64)
    centred = requests - requests.mean()
    spread = float(centred @ centred)
    slope = float(centred @ memory) / spread
    left = memory - memory.mean() - slope * centred
    error = float(np.sqrt((left @ left) / max(len(samples) - 2, 1) / spread))
    quarter = max(1, len(samples) // 4)
    handles = [sample.handles for sample in samples]
    return Verdict(
        seconds=samples[-1].seconds - samples[0].seconds,
        requests=samples[-1].requests - samples[0].requests,
        reindexes=reindexes,
        slope=slope,
        slope_error=error,
        first=samples[0],
        last=samples[-1],
        new_handles=float(np.median(handles[-quarter:]) - np.median(handles[:quarter])),
        calls=calls,
    )


def look(pid: int, seconds: float, requests: int) -> Sample:
    """What the kernel says of a process."""
    process = Path(f"/proc/{pid}")
    status = dict(re.findall(r"^(\w+):\s+(\d+)", (process / "status").read_text(), re.MULTILINE))
    return Sample(
        seconds,
        requests,
        int(status["RssAnon"]) * 1024,
        int(status["VmRSS"]) * 1024,
        len(list((process / "fd").iterdir())),
        int(status["Threads"]),
    )


def build(folder: Path) -> DataDir:
    """The drawn catalogue, trained and indexed."""
    from app.ingest.pipeline import ingest

    data_dir = DataDir(folder / "data")
    ingest(write_shapes(folder / "source"), data_dir, progress=SilentProgress())
    train(data_dir, epochs=3, progress=SilentProgress())
    reindex(data_dir, progress=SilentProgress())
    return data_dir


def ids_of(data_dir: DataDir) -> list[str]:
    """The pictures that are in the index."""
    with Catalog.open(data_dir.catalog_path) as catalog:
        return catalog.ids("train")


def _reindex(client: httpx.Client, full: bool) -> None:
    job = client.post("/v1/jobs", json={"kind": "reindex", "full": full})
    assert job.status_code == 202, job.text
    until = time.monotonic() + _JOB_SECONDS
    while True:
        state = client.get(job.headers["location"]).json()
        if state["state"] in ("succeeded", "failed", "canceled"):
            assert state["state"] == "succeeded", state
            return
        assert time.monotonic() < until, state
        time.sleep(0.5)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="imsage-soak-") as folder:
        yield Path(folder)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long, after the warm-up (30)")
    parser.add_argument("--warm-up", type=float, default=3.0, help="minutes that are not judged (3)")
    parser.add_argument("--reindex-every", type=float, default=1.5, help="minutes between reindexes (1.5)")
    asked = parser.parse_args()
    with _folder() as folder:
        data_dir = build(folder)
        with started(data_dir.root, folder / "log", log_level="warning") as (client, process):
            verdict = soak(
                client,
                process.pid,
                ids_of(data_dir),
                seconds=60 * asked.minutes,
                warm_up=60 * asked.warm_up,
                reindex_every=60 * asked.reindex_every,
                look_every=2.0,
            )
    print(verdict)
    return 0 if verdict.sound else 1


if __name__ == "__main__":
    sys.exit(main())
