"""Which search index a catalogue gets: by its size, and by the memory that the index may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from graph_store.errors import BadInput, UnknownName
from graph_store.pq_layout import compressed_bytes

IndexKind: TypeAlias = Literal["flat", "hnsw", "ivfpq"]
AskedKind: TypeAlias = Literal["auto", "flat", "hnsw", "ivfpq"]

FLAT_BELOW = 20_000
"""`auto` scans all vectors below this size: about a millisecond, and exact."""

COMPRESSED_FROM = 250_000
"""`auto` tries a compressed index from this size on: it is made in a sixth of the time that HNSW takes, so
trying in vain costs little.
"""

MOST_CODES_READ = 20_000
"""A compressed index is taken where a search need not read more of its codes: about half a millisecond, as
long as HNSW takes (docs/decisions/0011).
"""

INDEX_MEMORY = 4096
"""MiB that `auto` lets an index take where nothing else is said: about 1.2 million images of 784 numbers as
HNSW.
"""

_MIB = 2**20
_LINKS_BYTES = 272
"""What HNSW keeps for an image beside its vector: 64 links of four bytes, and where they are."""


class UnknownIndex(UnknownName):
    """An index of that kind does not exist."""

    code = "unknown-index"


class WrongIndexMemory(BadInput):
    """No index can take that much memory."""

    code = "wrong-index-memory"


@dataclass(frozen=True)
class IndexPolicy:
    """What is asked for. kind: `auto` or one by name; memory: MiB that the index may take, 0 for any.

    Raises UnknownIndex and WrongIndexMemory.
    """

    kind: AskedKind = "auto"
    memory: int = INDEX_MEMORY

    def __post_init__(self) -> None:
        if self.kind not in get_args(AskedKind):
            raise UnknownIndex(
                f"There is no index {self.kind!r}", hint=f"Use one of {', '.join(get_args(AskedKind))}."
            )
        if self.memory < 0:
            raise WrongIndexMemory(
                f"An index cannot take {self.memory} MiB of memory", hint="Use 0 for no limit."
            )


@dataclass(frozen=True)
class IndexChoice:
    """kind: what is built; reason: one sentence for whoever runs it; otherwise: what is built where a search
    in the first would read too much, which is known once it is there.
    """

    kind: str
    reason: str
    otherwise: IndexChoice | None = None

    def allows(self, kind: str) -> bool:
        """Whether an index of that kind is what was chosen."""
        return kind == self.kind or (self.otherwise is not None and self.otherwise.allows(kind))

    def settled(self, kind: str) -> IndexChoice:
        """Without a second possibility: the one of that kind, which it allows."""
        if kind != self.kind and self.otherwise is not None:
            return self.otherwise.settled(kind)
        return IndexChoice(self.kind, self.reason)

    def to_dict(self) -> dict[str, Any]:
        """What was built and why, as JSON values."""
        return {"kind": self.kind, "reason": self.reason}


def index_bytes(kind: IndexKind, num: int, dim: int) -> int:
    """About how many bytes an index over `num` vectors of `dim` numbers needs in memory to be quick: the
    vectors too, where each step of a search reads some (they are mapped, and shared by all workers).
    """
    if kind == "ivfpq":
        return compressed_bytes(num, dim)
    return num * (4 * dim + (_LINKS_BYTES if kind == "hnsw" else 0))


def choose_index(num: int, dim: int, policy: IndexPolicy) -> IndexChoice:
    """The index for `num` images whose vectors have `dim` numbers, and why.

    `auto` takes `flat` below 20,000 images and `hnsw` from there on, where that fits into the memory, else
    `ivfpq`; where not even that fits, the reason says so. From 250,000 images on `ivfpq` comes first where it
    fits, if a search in it reads little of it. A kind that is asked for by name is taken.
    """
    if policy.kind != "auto":
        return IndexChoice(policy.kind, _as_asked(policy.kind, num, dim, policy.memory))
    few = num < FLAT_BELOW
    plain: IndexKind = "flat" if few else "hnsw"
    if _fits(plain, num, dim, policy.memory):
        limit = f"{FLAT_BELOW:,}"
        why = f"are fewer than {limit}, so all are compared" if few else f"are {limit} or more"
        room = f" and {_size('hnsw', num, dim)} fit into {_budget(policy.memory)}"
        if num < COMPRESSED_FROM or not _fits("ivfpq", num, dim, policy.memory):
            return IndexChoice(plain, f"{num:,} images {why}{'' if few else room}.")
        reads = f"of {num:,} compressed images a search reads"
        return IndexChoice(
            "ivfpq",
            f"{reads[0].upper()}{reads[1:]} at most {MOST_CODES_READ:,}.",
            IndexChoice(plain, f"{num:,} images {why}{room}; {reads} more than {MOST_CODES_READ:,}."),
        )
    larger = f"{plain} would take {_size(plain, num, dim)} for {num:,} images, more than"
    if _fits("ivfpq", num, dim, policy.memory):
        end = f"; compressed they take {_size('ivfpq', num, dim)}."
    else:
        end = f"; compressed they still take {_size('ivfpq', num, dim)}, so raise index_memory."
    return IndexChoice("ivfpq", f"{larger} {_budget(policy.memory)}{end}")


def _as_asked(kind: IndexKind, num: int, dim: int, memory: int) -> str:
    if _fits(kind, num, dim, memory):
        return f"The setting index asks for {kind}."
    more = f"{_size(kind, num, dim)} for {num:,} images, more than {_budget(memory)}"
    return f"The setting index asks for {kind}, which takes {more}."


def _fits(kind: IndexKind, num: int, dim: int, memory: int) -> bool:
    return memory == 0 or index_bytes(kind, num, dim) <= memory * _MIB


def _size(kind: IndexKind, num: int, dim: int) -> str:
    return f"{math.ceil(index_bytes(kind, num, dim) / _MIB):,} MiB"


def _budget(memory: int) -> str:
    return f"the {memory:,} MiB of index_memory" if memory else "memory without a limit"
