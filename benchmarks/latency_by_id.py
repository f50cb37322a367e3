"""How long a search takes over HTTP at 100,000 images, beside what could not be faster.

    python -m benchmarks.latency_by_id [--images 100000] [--data DIR] [--rounds 2000] [--json FILE]

Three things take turns in one run, over loopback with keep-alive, so that whatever else the machine does
falls on all of them:

* `service`: `imsage serve` as users start it, `POST /v1/search` with a picture by its id, 20 results;
* `memory`: a FastAPI endpoint that returns the same JSON from memory, on the same server software;
* `memory_bytes`: the same, of bytes that were written beforehand, so that there is nothing left to do;
* `faiss`: the bare FAISS search of the same vectors, as wide as the service searches for a stored picture,
  in this process, without HTTP.

The ratio is service / (memory + faiss), of the medians; the strict ratio has memory_bytes for memory. Then a
256-pixel photo is uploaded, and its time is split into decoding, encoding and everything else. Attaching is
also timed by itself, in this process: one query after the other, and with a rest before each as long as an
encoder takes, after which processor and caches have gone cold.

The catalogue is generated: clustered features and tags, written, trained on and indexed by the real code.
With `--data` it is kept and used again.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

# As the server has it, and before FAISS is loaded: see app.serve.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from PIL import Image
from starlette.responses import Response

from benchmarks.bare_index import BareIndex, refuse_without_links
from benchmarks.generated import generate
from benchmarks.serving import free_port, listening
from gnn.query import Query, QueryEngine
from graph_store.arrays import Float32Array
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from graph_store.faiss_index import NEAR_EFFORT
from graph_store.index_choice import FLAT_BELOW
from graph_store.snapshot import Snapshot

LIMIT = 20


def serve_from_memory(answer: Path, port: int) -> None:
    """The baselines: endpoints that return the same answer to every question."""
    app = FastAPI()
    body = answer.read_bytes()
    parsed: dict[str, Any] = json.loads(body)

    @app.post("/v1/search")
    async def search(question: dict[str, Any]) -> dict[str, Any]:
        return parsed

    @app.post("/bytes")
    async def search_of_bytes(request: Request) -> Response:
        await request.json()
        return Response(body, media_type="application/json")

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_config=None)


def ask(
    connection: http.client.HTTPConnection,
    body: bytes,
    kind: str = "application/json",
    path: str = "/v1/search",
) -> tuple[float, bytes]:
    """Seconds and body of one answer."""
    start = time.perf_counter()
    connection.request("POST", path, body, {"content-type": kind})
    response = connection.getresponse()
    answer = response.read()
    seconds = time.perf_counter() - start
    if response.status != 200:
        raise RuntimeError(answer.decode())
    return seconds, answer


def photo() -> bytes:
    """A 256-pixel JPEG with as much detail as a photo has."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize((256, 256))
    noisy = np.asarray(coarse, np.int16) + rng.integers(-12, 13, (256, 256, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def multipart(picture: bytes) -> tuple[bytes, str]:
    """A form with one file, and its content type."""
    head = b'--cut\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    return head + picture + b"\r\n--cut--\r\n", "multipart/form-data; boundary=cut"


def attach_alone(engine: QueryEngine, rest: float, rounds: int = 150) -> float:
    """Median milliseconds of attaching one new picture, `rest` seconds after the one before."""
    rng = np.random.default_rng(3)
    times = []
    for row in rng.integers(0, engine.num_images, rounds).tolist():
        noise = 0.005 * rng.standard_normal((1, len(engine.image_features(row))), dtype=np.float32)
        picture = engine.image_features(row)[np.newaxis] + noise
        time.sleep(rest)
        start = time.perf_counter()
        engine.embed(Query(images=picture))
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[rounds // 10 :])


def measure(data_dir: DataDir, rounds: int) -> dict[str, Any]:
    """All figures, times in milliseconds."""
    snapshot = Snapshot.open(data_dir, verify=False)
    engine = QueryEngine.open(snapshot, None)
    rows = np.random.default_rng(2).integers(0, engine.num_images, rounds)
    queries: list[Float32Array] = [
        np.ascontiguousarray(engine.embed(Query(images=None, indexed_row=int(row))).blend(0.5)[np.newaxis])
        for row in rows
    ]
    bare = BareIndex(snapshot)
    bare.index.hnsw.efSearch = NEAR_EFFORT
    ports = free_port(), free_port()
    environment = {"IMSAGE_DATA": str(data_dir.root), "IMSAGE_PORT": str(ports[0])}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(listening([sys.executable, "-m", "app", "serve"], ports[0], environment))
        service = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=60)
        stack.callback(service.close)

        def question(row: int) -> bytes:
            return json.dumps({"image": {"id": engine.image_ids[row]}, "limit": LIMIT}).encode()

        (folder / "answer.json").write_bytes(ask(service, question(0))[1])
        baseline = [
            sys.executable,
            "-m",
            "benchmarks.latency_by_id",
            "--memory",
            str(folder / "answer.json"),
            "--port",
            str(ports[1]),
        ]
        stack.enter_context(listening(baseline, ports[1]))
        memory = http.client.HTTPConnection("127.0.0.1", ports[1], timeout=60)
        stack.callback(memory.close)
        service.close()  # it has idled while the other server started; the next request opens it again
        times: dict[str, list[float]] = {"service": [], "memory": [], "memory_bytes": [], "faiss": []}
        stages: dict[str, list[float]] = {}
        for number, (row, query) in enumerate(zip(rows.tolist(), queries, strict=True)):
            body = question(row)
            seconds, answer = ask(service, body)
            from_memory = ask(memory, body)[0]
            from_bytes = ask(memory, body, path="/bytes")[0]
            start = time.perf_counter()
            bare.index.search(query, LIMIT + 1)
            found = time.perf_counter() - start
            if number < rounds // 10:  # warming up
                continue
            measured = {
                "service": seconds,
                "memory": from_memory,
                "memory_bytes": from_bytes,
                "faiss": found,
            }
            for name, value in measured.items():
                times[name].append(1000 * value)
            for name, value in json.loads(answer)["took_ms"].items():
                stages.setdefault(name, []).append(value)
        form, kind = multipart(photo())
        uploads: dict[str, list[float]] = {}
        for number in range(60):
            seconds, answer = ask(service, form, kind, "/v1/search/upload")
            if number >= 10:
                took = json.loads(answer)["took_ms"]
                rest = 1000 * seconds - took["decode"] - took["encode"]
                for name, value in (*took.items(), ("http", 1000 * seconds), ("everything else", rest)):
                    uploads.setdefault(name, []).append(value)
    p50 = {name: statistics.median(values) for name, values in times.items()}
    return {
        "images": engine.num_images,
        "p50_ms": p50,
        "p99_ms": {name: float(np.percentile(values, 99)) for name, values in times.items()},
        "service_stages_p50_ms": {name: statistics.median(values) for name, values in stages.items()},
        "ratio": p50["service"] / (p50["memory"] + p50["faiss"]),
        "strict_ratio": p50["service"] / (p50["memory_bytes"] + p50["faiss"]),
        "upload_p50_ms": {name: statistics.median(values) for name, values in uploads.items()},
        "attach_p50_ms": {
            "in a row": attach_alone(engine, 0.0),
            "after 15 ms of rest": attach_alone(engine, 0.015),
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Generate what is missing, measure, print. arguments: None are those of the command line."""
    parser = argparse.ArgumentParser(description="Latency of a search by id at 100,000 images.")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--data", type=Path, help="keep the generated catalogue here and use it again")
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.memory:
        serve_from_memory(options.memory, options.port)
        return
    if options.images < FLAT_BELOW:
        parser.error(f"--images must be {FLAT_BELOW:,} at least: fewer are searched without HNSW")
    with ExitStack() as stack:
        root = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        data_dir = DataDir(root)
        if not data_dir.current_path.exists():
            start = time.perf_counter()
            generate(data_dir, options.images)
            print(f"generated {options.images} images in {time.perf_counter() - start:.0f} s", flush=True)
        try:
            refuse_without_links(Snapshot.open(data_dir, verify=False))
        except BadInput as error:
            parser.error(str(error))
        figures = measure(data_dir, options.rounds)
    text = json.dumps(figures, indent=2)
    print(text)
    print(f"ratio {figures['ratio']:.2f} (to reach: at most 1.5); strict {figures['strict_ratio']:.2f}")
    if options.json:
        options.json.write_text(text)


if __name__ == "__main__":
    main()
