"""One of the servers that imsage is held against: FastAPI, and in its process FAISS, Chroma or LanceDB.

    python rival_server.py ENGINE FOLDER (--port PORT | --build) [--width N]

It runs with another environment's packages, so it imports nothing of imsage. FOLDER has `vectors.npy`
[n, dim], `queries.npy` [q, dim], `asked.json` (the id of each query's picture), `records.json` (a list of
{"id", "year", "tags"}) and, for FAISS, `index.faiss`.
`POST /search` takes {"number", "years"}: the number of a query, and years that results must be of, or null.
It answers with the 20 best and what is known of them, as imsage does. --width is what an engine calls ef, or
probes: more finds more, in more time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

LIMIT = 20
CHUNK = 5000
Years = tuple[int, int] | None
"""first ≤ year < end; None lets all through."""
Search = Callable[[Any, Years], list[tuple[str, float]]]
"""(query [dim], years) → ids with scores, the best first, `LIMIT` + 1 of them."""


class Question(BaseModel):
    """A query's number, and years."""

    number: int
    years: Years = None


def faiss_search(folder: Path, width: int) -> Search:
    """The very index of the snapshot."""
    import faiss

    index = faiss.read_index(str(folder / "index.faiss"))
    records = json.loads((folder / "records.json").read_text())
    year_of = np.array([one["year"] for one in records])

    @cache
    def selector(years: Years) -> Any:
        if years is None:
            return None
        first, end = years
        mask = (year_of >= first) & (year_of < end)
        return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))

    def search(query: Any, years: Years) -> list[tuple[str, float]]:
        parameters = faiss.SearchParametersHNSW(efSearch=width, sel=selector(years))
        scores, rows = index.search(query[None], LIMIT + 1, params=parameters)
        return [(records[row]["id"], score) for row, score in zip(rows[0], scores[0].tolist(), strict=True)]

    return search


def chroma_collection(folder: Path) -> Any:
    """The collection, empty where it has not been built."""
    import chromadb

    client = chromadb.PersistentClient(str(folder / "chroma"), chromadb.Settings(anonymized_telemetry=False))
    configuration = {"hnsw": {"space": "ip", "max_neighbors": 32, "ef_construction": 120}}
    return client.get_or_create_collection("images", configuration=configuration, embedding_function=None)


def build_chroma(folder: Path) -> None:
    """As its users add: ids, embeddings, metadata."""
    collection = chroma_collection(folder)
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    records = json.loads((folder / "records.json").read_text())
    for start in range(0, len(records), CHUNK):
        part = records[start : start + CHUNK]
        collection.add(
            ids=[one["id"] for one in part],
            embeddings=np.array(vectors[start : start + CHUNK]),
            metadatas=[{"year": one["year"]} for one in part],
        )


def chroma_search(folder: Path, width: int) -> Search:
    """Chroma in this process: no second server in between."""
    collection = chroma_collection(folder)
    collection.modify(configuration={"hnsw": {"ef_search": width}})

    def where(years: Years) -> dict[str, Any] | None:
        return years and {"$and": [{"year": {"$gte": years[0]}}, {"year": {"$lt": years[1]}}]}

    def search(query: Any, years: Years) -> list[tuple[str, float]]:
        found = collection.query(
            query_embeddings=[query],
            n_results=LIMIT + 1,
            where=where(years),
            include=["distances"],
        )
        return [(one, 1 - far) for one, far in zip(found["ids"][0], found["distances"][0], strict=True)]

    return search


def build_lancedb(folder: Path) -> None:
    """A table with a vector index and an index of the years."""
    import lancedb
    import pyarrow as pa

    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    records = json.loads((folder / "records.json").read_text())
    dim = vectors.shape[1]

    def batches() -> Any:
        for start in range(0, len(records), CHUNK):
            part = records[start : start + CHUNK]
            flat = pa.array(np.array(vectors[start : start + CHUNK]).reshape(-1), pa.float32())
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array([one["id"] for one in part]),
                    pa.array([one["year"] for one in part]),
                    pa.FixedSizeListArray.from_arrays(flat, dim),
                ],
                names=["id", "year", "vector"],
            )

    schema = pa.schema([("id", pa.string()), ("year", pa.int64()), ("vector", pa.list_(pa.float32(), dim))])
    table = lancedb.connect(folder / "lancedb").create_table(
        "images", pa.RecordBatchReader.from_batches(schema, batches()), mode="overwrite"
    )
    graph = lancedb.index.HnswSq(distance_type="dot", num_partitions=1, m=32, ef_construction=120)
    table.create_index("vector", config=graph)
    table.create_index("year", config=lancedb.index.BTree())


def lancedb_search(folder: Path, width: int) -> Search:
    """LanceDB in this process."""
    import lancedb

    table = lancedb.connect(folder / "lancedb").open_table("images")

    def search(query: Any, years: Years) -> list[tuple[str, float]]:
        asked = table.search(query).distance_type("dot")
        if years is not None:
            asked = asked.where(f"year >= {years[0]} AND year < {years[1]}", prefilter=True)
        found = (
            asked.ef(width)
            .nprobes(1)
            .refine_factor(2)
            .limit(LIMIT + 1)
            .select(["id", "_distance"])
            .to_arrow()
        )
        far = found["_distance"].to_pylist()
        return [(one, 1 - distance) for one, distance in zip(found["id"].to_pylist(), far, strict=True)]

    return search


SEARCHES = {"faiss": faiss_search, "chroma": chroma_search, "lancedb": lancedb_search}
BUILDS = {"chroma": build_chroma, "lancedb": build_lancedb}


def serve(engine: str, folder: Path, width: int, port: int) -> None:
    """Until it is told to stop."""
    search = SEARCHES[engine](folder, width)
    queries = np.load(folder / "queries.npy", allow_pickle=False)
    asked = json.loads((folder / "asked.json").read_text())
    records = {one["id"]: one for one in json.loads((folder / "records.json").read_text())}
    app = FastAPI()

    # An ordinary function, so that FastAPI runs it in its threads: all three let go of the interpreter.
    @app.post("/search")
    def answer(question: Question) -> dict[str, Any]:
        found = search(queries[question.number], question.years)
        hits = [{**records[one], "score": score} for one, score in found if one != asked[question.number]]
        return {"hits": hits[:LIMIT]}

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_config=None)


def main() -> None:
    """Build or serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=SEARCHES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--width", type=int, default=128)
    options = parser.parse_args()
    if options.build:
        BUILDS[options.engine](options.folder)
    else:
        serve(options.engine, options.folder, options.width, options.port)


if __name__ == "__main__":
    main()
