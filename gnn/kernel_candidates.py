"""The numbers of the kernel readout that validation chooses, and the order in which they are tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Candidate:
    """See :class:`gnn.model.kernel_sage.KernelSageConfig`; ``ridge`` is that of :mod:`gnn.kernel_solve`."""

    neighbour_weight: float = 0.3
    vote_weight: float = 0.3
    length: float = 1.0
    ridge: float = 0.1


@dataclass(frozen=True)
class Measured:
    """A candidate's nDCG@5 on the query views, with the best share of the Jaccard view for it."""

    candidate: Candidate
    ndcg_at_5: float
    jaccard: float


_ROUNDS = (
    {"ridge": (0.3, 0.03)},
    {"vote_weight": (0.6, 0.0)},
    {"neighbour_weight": (0.6, 0.0)},
    {"length": (0.7, 1.5)},
    {"ridge": (0.1, 0.2, 0.5)},
)


def next_candidate(done: Sequence[Measured]) -> Candidate | None:
    """Coordinate ascent: one number after another, each from the best found so far. None at the end.

    A pure function of what has been measured, so an interrupted search goes on where it was.
    """
    if not done:
        return Candidate()
    tried = {each.candidate for each in done}
    replayed: list[Measured] = [done[0]]
    by_candidate = {each.candidate: each for each in done}
    for changes in _ROUNDS:
        centre = max(replayed, key=lambda each: each.ndcg_at_5).candidate
        for name, values in changes.items():
            for value in values:
                candidate = replace(centre, **{name: value})
                if candidate not in tried:
                    return candidate
                replayed.append(by_candidate[candidate])
    return None
