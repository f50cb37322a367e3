"""Hamming search with exact re-ranking, behind the protocol that every vector index has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gnn.hashing.codes import HashCodes
from graph_store.arrays import Float32Array, Int64Array
from graph_store.binary_index import BinaryIndex, Codes
from graph_store.durable import refusing_unwritable
from graph_store.errors import CorruptFile
from graph_store.exact import pair_scores, ranked
from graph_store.index_inputs import checked_search
from graph_store.vector_index import SearchResult

MEANING, LOOKS = "meaning.faiss", "looks.faiss"

_POOL = 4
"""How many times the rows to be ranked again each code brings, before both distances are looked at."""


class HashedIndex:
    """A :class:`graph_store.vector_index.VectorIndex`: codes find the candidates, vectors rank them.

    A query's blended vector is hashed by the heads that hashed the index. Each code brings the rows nearest
    by Hamming distance, inside the filter; of these the best `reranked` (or as many as are wanted, if that is
    more) are kept by the estimated score

        (1 - ρ) cos(π d / k) + ρ cos(π d' / k'),

    d of k bits of the meaning code, d' of k' bits of the looks code, ρ the share of looks in the vector: two
    vectors at angle θ differ in the share θ / π of random bits (Charikar 2002, Eq. of random hyperplanes).
    They are ranked by their exact inner products, so scores are those of any other index.
    """

    def __init__(
        self, hashing: HashCodes, vectors: Float32Array, meaning: BinaryIndex, looks: BinaryIndex
    ) -> None:
        self._hashing, self._vectors = hashing, np.asarray(vectors)
        self._meaning, self._looks = meaning, looks

    @classmethod
    def build(cls, hashing: HashCodes, vectors: Float32Array) -> HashedIndex:
        """Hash `vectors` [n, dim], which are kept as they are (they may be a memory map)."""
        meaning, looks = [], []
        for start in range(0, len(vectors), 65536):
            inputs = hashing.space.of_index(np.asarray(vectors[start : start + 65536]))
            meaning.append(hashing.heads[hashing.bits].codes(inputs))
            looks.append(hashing.looks.codes(hashing.space.looks_of(inputs)))
        if not meaning:
            meaning = [np.zeros((0, hashing.bits // 8), np.uint8)]
            looks = [np.zeros((0, hashing.looks.bits // 8), np.uint8)]
        return cls(
            hashing,
            vectors,
            BinaryIndex.build(np.concatenate(meaning)),
            BinaryIndex.build(np.concatenate(looks)),
        )

    @classmethod
    def open(cls, directory: Path, hashing: HashCodes, vectors: Float32Array) -> HashedIndex:
        """Map the two files that `save` wrote. Raises CorruptFile when one is broken or of other codes."""
        found = []
        for name, bits in ((MEANING, hashing.bits), (LOOKS, hashing.looks.bits)):
            index = BinaryIndex.open(directory / name)
            if index.bits != bits or index.size != len(vectors):
                raise CorruptFile(
                    f"The index {directory / name} holds {index.size} codes of {index.bits} bits, not"
                    f" {len(vectors)} of {bits}",
                    path=directory / name,
                )
            found.append(index)
        return cls(hashing, vectors, *found)

    @property
    def kind(self) -> str:
        """`hash`."""
        return "hash"

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
        """It searches in this process."""
        return True

    def search(self, queries: Float32Array, k: int, allowed: Int64Array | None = None) -> SearchResult:
        """The best k rows for each of `queries` [n, dim], of those in `allowed` [m] where it is given.

        As many rows come back as there are, up to k. Raises BadInput for a wrong dimension or a query that is
        not finite, and ValueError for an allowed row that the index does not have.
        """
        queries, allowed = checked_search(queries, k, allowed, self.dim, self.size)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        inputs = self._hashing.space.of_queries(queries)
        shares = self._hashing.space.share_of_looks(inputs)
        meaning = self._hashing.heads[self._hashing.bits].codes(inputs)
        looks = self._hashing.looks.codes(self._hashing.space.looks_of(inputs))
        for i, query in enumerate(queries):
            wanted = max(self._hashing.reranked, k)
            near = self._candidates(meaning[i], looks[i], float(shares[i]), wanted, allowed)[None]
            found, order = ranked(pair_scores(query[None], self._vectors, near), near, k)
            scores[i], rows[i] = found[0], order[0]
        return SearchResult(scores, rows)

    def save(self, path: Path) -> None:
        """Write both codes into the directory `path`, which is made. Raises Unwritable."""
        with refusing_unwritable(path):
            path.mkdir(parents=True, exist_ok=True)
        self._meaning.save(path / MEANING)
        self._looks.save(path / LOOKS)

    def _candidates(
        self, meaning: Codes, looks: Codes, share: float, wanted: int, allowed: Int64Array | None
    ) -> Int64Array:
        """[at most wanted]: the rows of the highest estimated scores, equal ones by lower row."""
        near = []
        if share < 1.0:
            near.append(self._meaning.nearest(meaning, _POOL * wanted, allowed))
        if share > 0.0:
            near.append(self._looks.nearest(looks, _POOL * wanted, allowed))
        pool = np.unique(np.concatenate(near))
        estimate = (1 - share) * np.cos(np.pi / self._meaning.bits * self._meaning.distances(meaning, pool))
        estimate += share * np.cos(np.pi / self._looks.bits * self._looks.distances(looks, pool))
        best: Int64Array = pool[np.argsort(-estimate, kind="stable")[:wanted]]
        return best
