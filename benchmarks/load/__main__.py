"""Eight clients at once over 100,000 images, while pictures come and go and everything is indexed anew.

    python -m benchmarks.load --data DIR [--seconds 60] [--clients 8] [--json FILE]

The data directory is one that `python -m benchmarks.latency_by_id --data DIR` has generated; it is made when
it is not there. What is written goes to a copy beside it. Everything stays on the loopback.

1. `idle`: the clients search by id with filters, and nothing else happens. `alone`: one client does.
2. `busy`: the same searches, while a writer stores, searches and deletes pictures, four times a second at
   most, and a full reindex runs as a job. It lasts --seconds, and until the reindex is served.
   Every answer is checked (see `checks`).

Ends with status 1 when an answer was wrong or the 99th percentile is more than twice the idle one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

# As the server has it, and before FAISS is loaded: see app.serve.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.generated import generate
from benchmarks.load.checks import wrong_answers
from benchmarks.load.clients import ask_until, figures_of
from benchmarks.load.machine import machine
from benchmarks.load.questions import QUESTIONS, mixed, surely_found
from benchmarks.load.writer import Writer
from benchmarks.serving import serving
from graph_store.data_dir import DataDir
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot
from imsage import Client

WARM_SECONDS = 5.0
LONGEST_SECONDS = 900.0
AFTER_SWAP_SECONDS = 5.0


def under_load(data_dir: DataDir, seconds: float, clients: int) -> dict[str, Any]:
    """The figures of both phases, and what was wrong."""
    before = Snapshot.open(data_dir, verify=False)
    records = RecordTable.open(before.path("records"))
    ids = list(records.ids)
    tags = before.json("tags")["names"]
    # What is asked for stays, what is deleted is never asked for.
    questions = mixed(ids[: len(ids) // 2], tags, QUESTIONS)
    doomed = ids[len(ids) // 2 :]
    staying = {name: json.loads(records.fragment(row)) for row, name in enumerate(ids[: len(ids) // 2])}
    sure = surely_found(questions, staying)
    bodies = [one.body for one in questions]
    with serving(data_dir.root) as url, Client(url, timeout=120) as client:

        def ask(many: int, until: float) -> Any:
            return figures_of(ask_until(url, "/v1/search", bodies, many, lambda so_far: so_far > until))

        ask(clients, WARM_SECONDS)
        alone = ask(1, seconds / 4)
        idle = ask(clients, seconds / 2)
        writer = Writer(url, doomed, tags)
        writer.start()
        job = client.start_reindex(full=True)
        served_at: list[float] = []

        def over(so_far: float) -> bool:
            if so_far > LONGEST_SECONDS:
                return True
            return so_far > seconds and bool(served_at) and so_far > served_at[0] + AFTER_SWAP_SECONDS

        watched = _watch(client, job.id, served_at)
        asked = ask_until(url, "/v1/search", bodies, clients, over)
        watched.join()
        written = writer.end()
        ended = client.job(job.id)
    wrong = [*written.wrong, *wrong_answers(data_dir, questions, sure, asked, written)]
    if ended.state != "succeeded":
        wrong.append(f"the reindex ended {ended.state}: {ended.error}")
    busy = figures_of(asked)
    versions = Counter(json.loads(one.body)["index_version"] for one in asked if one.status == 200)
    return {
        "alone": asdict(alone),
        "idle": asdict(idle),
        "busy": asdict(busy),
        "p99_ratio": round(busy.p99_ms / idle.p99_ms, 2),
        "reindex_seconds": round(served_at[0], 1) if served_at else None,
        "answers_by_snapshot": dict(versions),
        "stored": len(written.stored),
        "deleted": len(written.deleted),
        "upsert_p50_ms": round(1000 * float(np.median(written.seconds)), 1),
        "wrong": len(wrong),
        "wrong_first": wrong[:10],
    }


def _watch(client: Client, job_id: str, served_at: list[float]) -> Any:
    """A thread that notes after how many seconds the job's snapshot answers, or the job has failed."""
    import threading

    began = time.perf_counter()

    def look() -> None:
        job = client.wait_for_job(job_id, timeout=LONGEST_SECONDS)
        version = (job.result or {}).get("index_version")
        while version is not None and client.index().index_version != version:
            time.sleep(0.1)
        served_at.append(time.perf_counter() - began)

    thread = threading.Thread(target=look, name="watch")
    thread.start()
    return thread


def working_copy(data_dir: DataDir, into: Path) -> DataDir:
    """A copy to write to. The files of snapshots never change, so they are only linked."""

    def copy(source: str, target: str) -> object:
        if data_dir.snapshots_dir in Path(source).parents:
            os.link(source, target)
        else:
            shutil.copy2(source, target)
        return target

    shutil.copytree(data_dir.root, into, copy_function=copy)
    return DataDir(into)


def main() -> None:
    """Read the command line, make what is missing, measure, print."""
    parser = argparse.ArgumentParser(description="Searches under load, each answer checked.")
    parser.add_argument("--data", type=Path, required=True, help="made when it is not there")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    data_dir = DataDir(options.data)
    if not data_dir.current_path.exists():
        generate(data_dir, options.images)
    figures: dict[str, Any] = {
        "machine": machine(),
        "images": options.images,
        "clients": options.clients,
    }
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=options.data.resolve().parent))
        copy = working_copy(data_dir, Path(folder) / "data")
        figures["load"] = under_load(copy, options.seconds, options.clients)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    load = figures["load"]
    if load["wrong"] or load["p99_ratio"] > 2:
        sys.exit(f"{load['wrong']} wrong answers; p99 is {load['p99_ratio']} x idle (to reach: at most 2)")


if __name__ == "__main__":
    main()
