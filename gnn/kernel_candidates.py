"""The numbers of the kernel readout that validation chooses, and the order in which they are tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Candidate:
    """See :class:`gnn.model.kernel_config.KernelSageConfig`; ``ridge`` is that of :mod:`gnn.kernel_solve`."""

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


def margin_of(views: int) -> float:
    """How much better a candidate must rank on that many query views before it replaces a simpler choice.

    About one standard error of the difference between two candidates, which single views rank some 0.06 apart
    on average. Without it the best of a dozen equals wins by chance, and small catalogues get odd numbers
    (the one-standard-error rule, Breiman et al. 1984, §3.4.3).
    """
    return 0.06 / math.sqrt(max(views, 1))


def next_candidate(done: Sequence[Measured], margin: float = 0.0) -> Candidate | None:
    """Coordinate ascent: one number after another, each from the best found so far. None at the end.

    A pure function of what has been measured, so an interrupted search goes on where it was.
    """
    return _replayed(done, margin)[1]


def best_candidate(done: Sequence[Measured], margin: float = 0.0) -> Measured:
    """The one that the search has arrived at: `done` must not be empty."""
    centre = _replayed(done, margin)[0]
    assert centre is not None
    return centre


def _replayed(done: Sequence[Measured], margin: float) -> tuple[Measured | None, Candidate | None]:
    """Where the search stands after `done`, and what it tries next."""
    if not done:
        return None, Candidate()
    by_candidate = {each.candidate: each for each in done}
    centre = done[0]
    for changes in _ROUNDS:
        tried = [
            replace(centre.candidate, **{name: value}) for name, values in changes.items() for value in values
        ]
        known = [by_candidate[each] for each in tried if each in by_candidate]
        best = max(known, key=lambda each: each.ndcg_at_5, default=centre)
        if len(known) < len(tried):
            return _better(best, centre, margin), next(each for each in tried if each not in by_candidate)
        centre = _better(best, centre, margin)
    return centre, None


def _better(challenger: Measured, centre: Measured, margin: float) -> Measured:
    return challenger if challenger.ndcg_at_5 > centre.ndcg_at_5 + margin else centre
