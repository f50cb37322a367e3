"""Throughput beside what else could be used, at the same recall, in the same run.

The same questions go to imsage and to one FastAPI server each around FAISS (over the very index file of the
snapshot), Chroma and LanceDB (over the same vectors): a picture by its id, years that results must be of,
the 20 best with what is known of them. Chroma and LanceDB live in an environment of their own, made below the
cache folder; what they build is kept there as well.

Recall is the share of the true 20 best, found by comparing with all vectors. Each rival gets the narrowest
search that finds as much as imsage does, so none is held to more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load.clients import Asked, ask_until, figures_of
from benchmarks.load.questions import LIMIT, Asking
from benchmarks.serving import free_port, listening
from gnn.query import Query, QueryEngine
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot

PACKAGES = ("chromadb", "lancedb", "fastapi", "uvicorn[standard]", "numpy")
SERVER = Path(__file__).with_name("rival_server.py")
WIDTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512)
SLICES = 3
"""All take turns this often, so that whatever else the machine does falls on all of them."""
_JUDGED = 500


@dataclass(frozen=True)
class Rival:
    """One server: how it is asked, and with which search width it finds as much."""

    name: str
    path: str
    bodies: Sequence[bytes]
    width: int | None = None


def prepare(snapshot: Snapshot, questions: Sequence[Asking], cache: Path) -> Path:
    """The folder that the servers read, with everything built in it that is not there yet."""
    python = _environment(cache)
    folder = cache / snapshot.version
    folder.mkdir(parents=True, exist_ok=True)
    engine = QueryEngine.open(snapshot, None)
    rows = [engine.row_of(one.image_id) for one in questions]
    vectors = [engine.embed(Query(images=None, indexed_row=row)).blend(0.5) for row in rows]
    np.save(folder / "queries.npy", np.stack(vectors).astype(np.float32))
    (folder / "asked.json").write_text(json.dumps([one.image_id for one in questions]))
    for name, source in (("vectors.npy", "embeddings.npy"), ("index.faiss", "index.faiss")):
        if not (folder / name).exists():
            (folder / name).symlink_to(snapshot.path(source).resolve())
    if not (folder / "records.json").exists():
        records = RecordTable.open(snapshot.path("records"))
        shown = [json.loads(records.fragment(row)) for row in range(len(engine.image_ids))]
        known = [
            {"id": name, "year": one["attributes"]["year"], "tags": one["tags"]}
            for name, one in zip(engine.image_ids, shown, strict=True)
        ]
        (folder / "records.json").write_text(json.dumps(known))
    for name in ("chroma", "lancedb"):
        built = folder / f"{name}.built"
        if not built.exists():
            subprocess.run([python, SERVER, name, folder, "--build"], check=True)
            built.touch()
    return folder


def compare(
    url: str, snapshot: Snapshot, questions: Sequence[Asking], cache: Path, clients: int, seconds: float
) -> dict[str, Any]:
    """The figures of each by name. url: where imsage serves that snapshot."""
    folder = prepare(snapshot, questions, cache)
    true = _true_ids(folder, questions[:_JUDGED])
    imsage = Rival("imsage", "/v1/search", [one.body for one in questions])
    recall = _recall(url, imsage, true)
    found = {"imsage": recall}
    taken: dict[str, list[list[Asked]]] = {}
    with ExitStack() as stack:
        servers = [(url, imsage)]
        for name in ("faiss", "chroma", "lancedb"):
            width, found[name] = _narrowest(name, folder, cache, questions, true, recall)
            rival = Rival(name, "/search", _bodies(questions), width)
            servers.append((stack.enter_context(_served(name, folder, cache, width)), rival))
        for number in range(SLICES + 1):
            for address, rival in servers:
                until = 2.0 if number == 0 else seconds / SLICES  # the first is for warming up
                asked = ask_until(address, rival.path, rival.bodies, clients, _after(until))
                if number:
                    taken.setdefault(rival.name, []).append(asked)
    widths = {rival.name: rival.width for _, rival in servers}
    return {
        name: {"recall": round(found[name], 4), "width": widths[name], **_together(slices)}
        for name, slices in taken.items()
    }


def _after(seconds: float) -> Callable[[float], bool]:
    return lambda so_far: so_far > seconds


def _together(slices: Sequence[Sequence[Asked]]) -> dict[str, Any]:
    each = [figures_of(asked) for asked in slices]
    whole = figures_of([one for asked in slices for one in asked])
    return {**asdict(whole), "a_second": round(float(np.mean([one.a_second for one in each])), 1)}


def _bodies(questions: Sequence[Asking]) -> list[bytes]:
    return [
        json.dumps({"number": number, "first": one.years[0], "end": one.years[1]}).encode()
        for number, one in enumerate(questions)
    ]


def _true_ids(folder: Path, questions: Sequence[Asking]) -> list[set[str]]:
    vectors, queries = np.load(folder / "vectors.npy"), np.load(folder / "queries.npy")
    records = json.loads((folder / "records.json").read_text())
    years = np.array([one["year"] for one in records])
    rows = {one["id"]: row for row, one in enumerate(records)}
    true = []
    for number, question in enumerate(questions):
        scores = vectors @ queries[number]
        scores[(years < question.years[0]) | (years >= question.years[1])] = -np.inf
        scores[rows[question.image_id]] = -np.inf
        true.append({records[row]["id"] for row in np.argpartition(-scores, LIMIT)[:LIMIT].tolist()})
    return true


def _recall(url: str, rival: Rival, true: Sequence[set[str]]) -> float:
    import httpx

    shares = []
    with httpx.Client(timeout=120) as client:
        for body, best in zip(rival.bodies, true, strict=False):
            answer = client.post(url + rival.path, content=body, headers={"content-type": "application/json"})
            answer.raise_for_status()
            shares.append(len({hit["id"] for hit in answer.json()["hits"]} & best) / len(best))
    return float(np.mean(shares))


def _narrowest(
    name: str, folder: Path, cache: Path, questions: Sequence[Asking], true: Sequence[set[str]], recall: float
) -> tuple[int, float]:
    """The first width that finds as much, and what it finds; the widest where none does."""
    found = 0.0
    for width in WIDTHS:
        with _served(name, folder, cache, width) as url:
            found = _recall(url, Rival(name, "/search", _bodies(questions)), true)
        if found >= recall:
            return width, found
    return WIDTHS[-1], found


def _served(name: str, folder: Path, cache: Path, width: int) -> Any:
    port = free_port()
    python = sys.executable if name == "faiss" else str(_environment(cache))
    command = [python, str(SERVER), name, str(folder), "--port", str(port), "--width", str(width)]

    from contextlib import contextmanager

    @contextmanager
    def served() -> Any:
        with listening(command, port, {"OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]}):
            yield f"http://127.0.0.1:{port}"

    return served()


def _environment(cache: Path) -> Path:
    """The Python of the rivals' environment, which is made when it is not there."""
    python = cache / "venv" / "bin" / "python"
    if not (cache / "venv" / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", cache / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (cache / "venv" / ".installed").touch()
    return python
