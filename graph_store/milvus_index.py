"""The vector index in a Milvus cluster: it finds the candidates, the snapshot's own vectors rank them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from graph_store.arrays import Float32Array, Int64Array
from graph_store.durable import write_bytes
from graph_store.errors import CorruptFile
from graph_store.exact import SLACK, best_of, cut_through_a_tie, fitted, pair_scores, ranked
from graph_store.index_inputs import checked_search, checked_vectors
from graph_store.milvus_server import IndexUnreachable, MilvusServer
from graph_store.vector_index import SearchResult

Kind = Literal["flat", "hnsw"]

FLAT_BELOW = 20_000
"""`auto` lets Milvus scan below this size, which is exact."""

MOST_RESULTS = 16_384
"""Milvus gives at most so many results to one query; deeper questions are answered by a scan."""

SCAN_ALLOWED_UP_TO = 1_000
"""So few allowed rows are compared here: sending them costs more."""

_INSERTED_AT_ONCE = 2_000
_SEARCHED_AT_ONCE = 64
_INDEX: dict[Kind, dict[str, Any]] = {
    "flat": {"index_type": "FLAT", "params": {}},
    "hnsw": {"index_type": "HNSW", "params": {"M": 32, "efConstruction": 120}},
}
_EF_SEARCH = 128


class MilvusIndex:
    """A :class:`graph_store.vector_index.VectorIndex` whose vectors lie in a Milvus collection, one entity a
    row: `row` (the key) and `vector`.

    Scores are computed again from `vectors` (the snapshot's memory map), so they are those of any other index
    and equal scores come in order of row. Raises IndexUnreachable whenever the server does not answer.
    """

    def __init__(self, server: MilvusServer, collection: str, kind: Kind, vectors: Float32Array) -> None:
        self._server, self._kind = server, kind
        self.collection = collection
        self._vectors = np.asarray(vectors)

    @classmethod
    def build(
        cls, server: MilvusServer, vectors: Float32Array, kind: Literal["auto", "flat", "hnsw"] = "auto"
    ) -> MilvusIndex:
        """A new collection with `vectors` [n, dim] float32 of norm about 1. Raises BadInput when one is not
        finite; then, and whenever else it fails, no collection stays behind.
        """
        vectors = checked_vectors(vectors, None)
        chosen: Kind = ("flat" if len(vectors) < FLAT_BELOW else "hnsw") if kind == "auto" else kind
        index = cls(server, server.new_name(), chosen, vectors)
        try:
            index._create()
        except BaseException:
            index.drop()
            raise
        return index

    @classmethod
    def open(cls, path: Path, server: MilvusServer, vectors: Float32Array) -> MilvusIndex:
        """The collection that a file written by `save` names. Raises CorruptFile when the file is none or is
        not about these vectors; IndexUnreachable when the collection is not there.
        """
        try:
            written = json.loads(path.read_bytes())
            collection, kind = str(written["collection"]), written["kind"]
            shape = (int(written["size"]), int(written["dim"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptFile(f"The index {path} does not name a Milvus collection", path=path) from error
        if shape != vectors.shape or kind not in _INDEX:
            raise CorruptFile(
                f"The index {path} is {kind} of {list(shape)}, not of {list(vectors.shape)}", path=path
            )
        if not server.has(collection):
            raise IndexUnreachable(
                f"Milvus at {server.uri} has no collection {collection}",
                hint="Was the snapshot made with another server? Run `imsage reindex`.",
            )
        with server.answering():
            server.client.load_collection(collection)
        return cls(server, collection, kind, vectors)

    @property
    def kind(self) -> str:
        """`milvus-flat` or `milvus-hnsw`."""
        return f"milvus-{self._kind}"

    @property
    def dim(self) -> int:
        """The length of each vector."""
        return int(self._vectors.shape[1])

    @property
    def size(self) -> int:
        """How many vectors it holds."""
        return len(self._vectors)

    @property
    def is_local(self) -> bool:
        """It waits for the server."""
        return False

    def search(self, queries: Float32Array, k: int, allowed: Int64Array | None = None) -> SearchResult:
        """The best k rows for each of `queries` [n, dim], of those in `allowed` [m] where it is given; Milvus
        filters inside its search.

        As many rows come back as there are, up to k, however few are allowed. Raises BadInput for a wrong
        dimension or a query that is not finite, and ValueError for an allowed row that the index does not
        have.
        """
        queries, allowed = checked_search(queries, k, allowed, self.dim, self.size)
        reachable = self.size if allowed is None else len(allowed)
        few = allowed is not None and len(allowed) <= SCAN_ALLOWED_UP_TO
        count = min(k + SLACK, reachable)
        if few or count > MOST_RESULTS or not reachable or not len(queries):
            scores = np.full((len(queries), k), -np.inf, np.float32)
            rows = np.full((len(queries), k), -1, np.int64)
            again = np.full(len(queries), reachable > 0)
        else:
            near = self._candidates(queries, count, allowed)
            scores, rows = ranked(pair_scores(queries, self._vectors, near), near, count)
            again = (rows >= 0).sum(axis=1) < min(k, reachable)
            if self._kind == "flat" and count < reachable:
                again |= cut_through_a_tie(scores, k, count - 1)
            scores, rows = fitted(scores, rows, k)
        for i in np.flatnonzero(again):
            scores[i], rows[i] = best_of(queries[i], self._vectors, k, allowed)
        return SearchResult(scores, rows)

    def save(self, path: Path) -> None:
        """Write which collection it is. The vectors stay where they are. Raises Unwritable."""
        text = {"collection": self.collection, "kind": self._kind, "size": self.size, "dim": self.dim}
        write_bytes(path, json.dumps(text, indent=2).encode())

    def drop(self) -> None:
        """Remove the collection. Raises IndexUnreachable."""
        with self._server.answering():
            self._server.client.drop_collection(self.collection)

    def _create(self) -> None:
        from pymilvus import DataType, MilvusClient

        client = self._server.client
        with self._server.answering():
            schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("row", DataType.INT64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dim)
            indexed = MilvusClient.prepare_index_params()
            indexed.add_index("vector", metric_type="IP", **_INDEX[self._kind])
            client.create_collection(
                self.collection, schema=schema, index_params=indexed, consistency_level="Strong"
            )
            for start in range(0, self.size, _INSERTED_AT_ONCE):
                part = self._vectors[start : start + _INSERTED_AT_ONCE]
                client.insert(
                    self.collection,
                    [{"row": start + place, "vector": vector} for place, vector in enumerate(part)],
                )
            client.flush(self.collection)
            client.load_collection(self.collection)
            stored = int(client.get_collection_stats(self.collection)["row_count"])
        if stored != self.size:
            raise IndexUnreachable(
                f"Milvus at {self._server.uri} holds {stored} of {self.size} vectors",
                hint="Nothing was changed. Try again, and look into its log.",
            )

    def _candidates(self, queries: Float32Array, count: int, allowed: Int64Array | None) -> Int64Array:
        """[n, count] int64: the rows that Milvus finds, -1 where there are fewer."""
        found = np.full((len(queries), count), -1, np.int64)
        condition = "" if allowed is None else self._filter(allowed)
        params = {"ef": max(_EF_SEARCH, 2 * count)} if self._kind == "hnsw" else {}
        for start in range(0, len(queries), _SEARCHED_AT_ONCE):
            with self._server.answering():
                answers = self._server.client.search(
                    self.collection,
                    data=list(queries[start : start + _SEARCHED_AT_ONCE]),
                    anns_field="vector",
                    limit=count,
                    search_params={"metric_type": "IP", "params": params},
                    filter=condition,
                    timeout=self._server.timeout,
                )
            for line, answer in enumerate(answers, start):
                near = [hit["row"] for hit in answer]
                found[line, : len(near)] = near
        return found

    def _filter(self, allowed: Int64Array) -> str:
        """As Milvus writes it: whichever list is shorter, of the rows that are allowed or of the others."""
        if 2 * len(allowed) <= self.size:
            return f"row in {allowed.tolist()}"
        others = np.setdiff1d(np.arange(self.size), allowed, assume_unique=True)
        return f"row not in {others.tolist()}"
