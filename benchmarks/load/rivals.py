"""Throughput beside what else could be used, at the same recall, in the same run.

    python -m benchmarks.load.rivals --data DIR --cache DIR [--no-filter] [--only RIVAL]… [--prepare]
        [--seconds N]

The same questions go to imsage, to one FastAPI server each around FAISS (over the very index file of the
snapshot), Chroma and LanceDB (over the same vectors), and to Chroma's own server: a picture by its id (its
vector for that one), years that results must be of (not with --no-filter), the 20 best with what is known of
them. imsage also takes part with a worker for each core, since Chroma's own server uses them all. Chroma and
LanceDB live in an environment of their own, made below the cache folder; what they build is kept there.

Recall is the share of the true 20 best, found by comparing with all vectors. Each rival gets the narrowest
search that finds as much as imsage does, but for two in a thousand, so none is held to more. With --prepare
all is built, these widths are found and kept, and nothing is measured; otherwise recall is measured in the
same run as throughput. Ends with status 1 when a server answered with an error.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.bare_index import BareIndex, refuse_without_links
from benchmarks.load.chroma_server import chroma_bodies, chroma_ids, chroma_path, chroma_served
from benchmarks.load.clients import JSON, Asked, ask_until, figures_of
from benchmarks.load.machine import machine
from benchmarks.load.questions import LIMIT, QUESTIONS, Asking, wide
from benchmarks.serving import free_port, listening, serving
from gnn.query import Query, QueryEngine
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from graph_store.faiss_api import faiss
from graph_store.record_table import RecordTable
from graph_store.snapshot import Snapshot

PACKAGES = (
    "chromadb==1.5.9",
    "lancedb==0.40.0",
    "fastapi==0.165.0",
    "uvicorn[standard]==0.54.0",
    "numpy==2.4.6",
)
SERVER = Path(__file__).with_name("rival_server.py")
WIDTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512)
IMSAGE, CHROMA_SERVER = "imsage", "chroma run"
RIVALS = ("faiss", "chroma", CHROMA_SERVER, "lancedb")
SLICES = 3
"""All take turns this often, so that whatever else the machine does falls on all of them."""
_JUDGED = 200
_AS_MUCH = 0.002
"""So much less recall still counts as the same: one picture of 4,000 must not double a rival's search."""


@dataclass(frozen=True)
class Rival:
    """One server, and how it is asked."""

    name: str
    path: str
    bodies: Sequence[bytes]
    ids: Callable[[dict[str, Any]], list[str]] = lambda answer: [hit["id"] for hit in answer["hits"]]


def prepare(snapshot: Snapshot, questions: Sequence[Asking], cache: Path, rivals: Sequence[str]) -> Path:
    """The folder that the servers read, with what these rivals need built in it where it is not there."""
    python = _environment(cache)
    folder = cache / snapshot.version
    folder.mkdir(parents=True, exist_ok=True)
    engine = QueryEngine.open(snapshot, None)
    rows = [engine.row_of(one.image_id) for one in questions]
    vectors = [engine.embed(Query(images=None, indexed_row=row)).blend(0.5) for row in rows]
    np.save(folder / "queries.npy", np.stack(vectors).astype(np.float32))
    (folder / "asked.json").write_text(json.dumps([one.image_id for one in questions]))
    if not (folder / "vectors.npy").exists():
        (folder / "vectors.npy").symlink_to(snapshot.path("embeddings.npy").resolve())
    if not (folder / "index.faiss").exists():
        bare = BareIndex(snapshot)  # it owns what the index reads
        faiss.write_index(bare.index, str(folder / "index.faiss.part"))
        (folder / "index.faiss.part").rename(folder / "index.faiss")
    if not (folder / "records.json").exists():
        records = RecordTable.open(snapshot.path("records"))
        shown = [json.loads(records.fragment(row)) for row in range(len(engine.image_ids))]
        known = [
            {"id": name, "year": one["attributes"]["year"], "tags": one["tags"]}
            for name, one in zip(engine.image_ids, shown, strict=True)
        ]
        (folder / "records.json").write_text(json.dumps(known))
    for name in sorted({"chroma" if name == CHROMA_SERVER else name for name in rivals} - {"faiss"}):
        built = folder / f"{name}.built"
        if not built.exists():
            subprocess.run([python, SERVER, name, folder, "--build"], check=True)
            built.touch()
    return folder


def tuned(
    url: str, folder: Path, questions: Sequence[Asking], cache: Path, rivals: Sequence[str]
) -> dict[str, Any]:
    """What imsage finds, and for each rival its width and what it finds with it. Remembered in the folder."""
    known = folder / ("tuned.json" if questions[0].years else "tuned-no-filter.json")
    found: dict[str, Any] = json.loads(known.read_text()) if known.exists() else {}
    true = _true_ids(folder, questions[:_JUDGED])
    if IMSAGE not in found:
        found[IMSAGE] = {"width": None, "recall": round(_recall(url, _imsage(questions), true), 4)}
    for name in rivals:
        if name not in found:
            found[name] = _narrowest(name, folder, cache, questions, true, found[IMSAGE]["recall"])
        known.write_text(json.dumps(found))
    return found


def compare(
    urls: Mapping[str, str],
    folder: Path,
    questions: Sequence[Asking],
    cache: Path,
    rivals: Sequence[str],
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    """The figures of each by name. urls: where imsage serves the snapshot that the folder was made of, by the
    name of what serves there, `IMSAGE` for one.
    """
    found = tuned(urls[IMSAGE], folder, questions, cache, rivals)
    true = _true_ids(folder, questions[:_JUDGED])
    taken: dict[str, list[list[Asked]]] = {}
    with ExitStack() as stack:
        servers = [(url, replace(_imsage(questions), name=name)) for name, url in urls.items()]
        for name in rivals:
            served = stack.enter_context(_served(name, folder, cache, found[name]["width"]))
            servers.append((served, _asked(name, served, folder, questions)))
        for address, rival in servers:
            found.setdefault(rival.name, {"width": None})["recall"] = round(_recall(address, rival, true), 4)
        for number in range(SLICES + 1):
            for address, rival in servers:
                until = 2.0 if number == 0 else seconds / SLICES  # the first is for warming up
                asked = ask_until(address, rival.path, rival.bodies, clients, _after(until))
                if number:
                    taken.setdefault(rival.name, []).append(asked)
    return {name: {**found[name], **_together(slices)} for name, slices in taken.items()}


def _imsage(questions: Sequence[Asking]) -> Rival:
    return Rival(IMSAGE, "/v1/search", [one.body for one in questions])


def _asked(name: str, url: str, folder: Path, questions: Sequence[Asking]) -> Rival:
    """How one of RIVALS is asked at its address."""
    if name == CHROMA_SERVER:
        return Rival(name, chroma_path(url), chroma_bodies(folder, questions), chroma_ids)
    return Rival(name, "/search", _bodies(questions))


def _after(seconds: float) -> Callable[[float], bool]:
    return lambda so_far: so_far > seconds


def _together(slices: Sequence[Sequence[Asked]]) -> dict[str, Any]:
    each = [figures_of(asked) for asked in slices]
    whole = figures_of([one for asked in slices for one in asked])
    return {**asdict(whole), "a_second": round(float(np.mean([one.a_second for one in each])), 1)}


def _bodies(questions: Sequence[Asking]) -> list[bytes]:
    return [
        json.dumps({"number": number, "years": one.years}).encode() for number, one in enumerate(questions)
    ]


def _true_ids(folder: Path, questions: Sequence[Asking]) -> list[set[str]]:
    vectors, queries = (np.load(folder / name, allow_pickle=False) for name in ("vectors.npy", "queries.npy"))
    records = json.loads((folder / "records.json").read_text())
    years = np.array([one["year"] for one in records])
    rows = {one["id"]: row for row, one in enumerate(records)}
    true = []
    for number, question in enumerate(questions):
        scores = vectors @ queries[number]
        if question.years is not None:
            scores[(years < question.years[0]) | (years >= question.years[1])] = -np.inf
        scores[rows[question.image_id]] = -np.inf
        true.append({records[row]["id"] for row in np.argpartition(-scores, LIMIT)[:LIMIT].tolist()})
    return true


def _recall(url: str, rival: Rival, true: Sequence[set[str]]) -> float:
    shares = []
    with httpx.Client(timeout=120) as client:
        for body, best in zip(rival.bodies, true, strict=False):
            answer = client.post(url + rival.path, content=body, headers=JSON)
            answer.raise_for_status()
            shares.append(len(set(rival.ids(answer.json())) & best) / len(best))
    return float(np.mean(shares))


def _narrowest(
    name: str, folder: Path, cache: Path, questions: Sequence[Asking], true: Sequence[set[str]], recall: float
) -> dict[str, Any]:
    """The least width that finds as much, and what it finds; the widest where none does.

    More is found in a wider search, so the widths are halved: some of these servers take minutes for each.
    """
    found: dict[int, float] = {}

    def enough(width: int) -> bool:
        with _served(name, folder, cache, width) as url:
            found[width] = _recall(url, _asked(name, url, folder, questions), true)
        return found[width] >= recall - _AS_MUCH

    place = bisect_left(WIDTHS[:-1], True, key=enough)
    width = WIDTHS[place]
    if width not in found:
        enough(width)
    return {"width": width, "recall": round(found[width], 4)}


@contextmanager
def _served(name: str, folder: Path, cache: Path, width: int) -> Iterator[str]:
    if name == CHROMA_SERVER:
        with chroma_served(folder, _environment(cache), width) as url:
            yield url
        return
    port = free_port()
    python = sys.executable if name == "faiss" else str(_environment(cache))
    command = [python, str(SERVER), name, str(folder), "--port", str(port), "--width", str(width)]
    with listening(command, port, {"OMP_NUM_THREADS": "1"}):
        yield f"http://127.0.0.1:{port}"


def _environment(cache: Path) -> Path:
    """The Python of the rivals' environment, which is made when it is not there."""
    python = cache / "venv" / "bin" / "python"
    if not (cache / "venv" / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", cache / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (cache / "venv" / ".installed").touch()
    return python


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, build what is missing, measure, print. arguments: None are those of the command
    line.
    """
    parser = argparse.ArgumentParser(description="Throughput at the same recall.")
    parser.add_argument("--data", type=Path, required=True, help="as `python -m benchmarks.load` has it")
    parser.add_argument("--cache", type=Path, required=True, help="where what the rivals need is kept")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--no-filter", action="store_true", help="all pictures may be found")
    parser.add_argument("--only", action="append", choices=RIVALS, help="this rival, and others so named")
    parser.add_argument("--prepare", action="store_true", help="build and tune, and measure nothing")
    options = parser.parse_args(arguments)
    snapshot = Snapshot.open(DataDir(options.data), verify=False)
    try:
        refuse_without_links(snapshot)
    except BadInput as error:
        parser.error(str(error))
    questions = wide(RecordTable.open(snapshot.path("records")).ids, QUESTIONS)
    if options.no_filter:
        questions = [replace(one, years=None) for one in questions]
    rivals = options.only or RIVALS
    folder = prepare(snapshot, questions, options.cache, rivals)
    workers = os.cpu_count() or 1
    with serving(options.data) as url:
        if options.prepare:
            print(json.dumps(tuned(url, folder, questions, options.cache, rivals), indent=2))
            return
        with serving(options.data, workers=workers) as several:
            urls = {IMSAGE: url, f"{IMSAGE}, {workers} workers": several}
            found = compare(urls, folder, questions, options.cache, rivals, options.clients, options.seconds)
    text = json.dumps({"machine": machine(), "clients": options.clients, "throughput": found}, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    sys.exit(any(one["errors"] for one in found.values()))


if __name__ == "__main__":
    main()
