"""What a vector index must do, whichever engine is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from graph_store.arrays import Float32Array, Int64Array


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The best rows of each query: scores [n, k] float32, falling; rows [n, k] int64.

    Equal scores are ordered by lower row. Where there are fewer than k, the rest is row -1 with score -inf.
    """

    scores: Float32Array
    rows: Int64Array


class VectorIndex(Protocol):
    """Nearest rows by inner product."""

    @property
    def kind(self) -> str:
        """How it searches: `flat`, `hnsw`, …"""

    @property
    def dim(self) -> int:
        """The length of each vector."""

    @property
    def size(self) -> int:
        """How many vectors it holds."""

    @property
    def is_local(self) -> bool:
        """Whether a search computes in this process, rather than wait for another one."""

    def search(self, queries: Float32Array, k: int, allowed: Int64Array | None = None) -> SearchResult:
        """The best k rows for each of `queries` [n, dim], of those in `allowed` [m] where it is given."""

    def save(self, path: Path) -> None:
        """Write the index to a file."""
