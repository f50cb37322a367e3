"""Chroma's own server, `chroma run`, over the collection that :mod:`benchmarks.load.rival_server` has built.

It is asked with the vectors of the pictures themselves, as it has no notion of a query's picture; to look one
up first would be a second call, which is not counted.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.load.questions import LIMIT, Asking
from benchmarks.serving import free_port, listening

COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
_CONFIGURE = """
import sys, chromadb
client = chromadb.PersistentClient(sys.argv[1], chromadb.Settings(anonymized_telemetry=False))
collection = client.get_collection("images", embedding_function=None)
collection.modify(configuration={"hnsw": {"ef_search": int(sys.argv[2])}})
"""


@contextmanager
def chroma_served(folder: Path, python: Path, width: int) -> Iterator[str]:
    """The address of the server, once it answers. folder: as `rival_server.py` has it; python: that of the
    environment where Chroma is; width: what it calls ef_search.
    """
    data = str(folder / "chroma")
    subprocess.run([str(python), "-c", _CONFIGURE, data, str(width)], check=True)
    port = free_port()
    command = [str(python.with_name("chroma")), "run", "--path", data, "--host", "127.0.0.1"]
    with listening([*command, "--port", str(port)], port, {"OMP_NUM_THREADS": "1", "RUST_LOG": "off"}):
        yield f"http://127.0.0.1:{port}"


def chroma_path(url: str) -> str:
    """Where its collection is asked."""
    collection: dict[str, Any] = httpx.get(f"{url}{COLLECTIONS}/images").raise_for_status().json()
    return f"{COLLECTIONS}/{collection['id']}/query"


def chroma_bodies(folder: Path, questions: Sequence[Asking]) -> list[bytes]:
    """The questions: the nearest, one more for the picture itself, with their distances."""
    queries = np.load(folder / "queries.npy", allow_pickle=False)

    def body(number: int, years: tuple[int, int] | None) -> bytes:
        asked: dict[str, Any] = {
            "query_embeddings": [[round(x, 8) for x in queries[number].tolist()]],
            "n_results": LIMIT + 1,
            "include": ["distances", "metadatas"],
        }
        if years is not None:
            asked["where"] = {"$and": [{"year": {"$gte": years[0]}}, {"year": {"$lt": years[1]}}]}
        return json.dumps(asked).encode()

    return [body(number, one.years) for number, one in enumerate(questions)]


def chroma_ids(answer: dict[str, Any]) -> list[str]:
    """The found pictures, best first."""
    found: list[str] = answer["ids"][0]
    return found
