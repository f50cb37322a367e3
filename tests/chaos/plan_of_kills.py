"""Which kills are made, and that as many strike as were asked for."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_RANDOM = "a random moment"
_TRIES = 2
"""How many kills are tried at most for each that is to strike."""


@dataclass(frozen=True)
class Kill:
    """One kill to make: at the so-manyeth visit of a point, or (visit 0) at a random moment."""

    operation: str
    point: str
    visit: int


def planned(visited: Mapping[str, Counter[str]], kills: int, chosen: random.Random) -> list[Kill]:
    """Three kills of four at points, each once as far as they reach, those of phases before those of files;
    the rest drawn. Grouped by operation, in the order of `visited`: the points of each by their visits.
    """
    every = [Kill(name, point, 1) for name, points in visited.items() for point in sorted(points)]
    chosen.shuffle(every)
    every.sort(key=lambda kill: not kill.point.startswith(("beginning of", "within", "end of")))
    plan = every[: kills * 3 // 4]
    return _grouped([*plan, *drawn(visited, kills - len(plan), chosen)], visited)


def drawn(visited: Mapping[str, Counter[str]], kills: int, chosen: random.Random) -> list[Kill]:
    """Kills at a random visit of a point or at a random moment, grouped by operation."""
    plan = []
    while len(plan) < kills:
        name = chosen.choice(list(visited))
        point = chosen.choice(sorted(visited[name]))
        visit = chosen.randint(1, visited[name][point])
        plan.append(Kill(name, point, visit) if chosen.random() < 0.5 else Kill(name, _RANDOM, 0))
    return _grouped(plan, visited)


def strike_until(
    kills: int,
    plan: Sequence[Kill],
    strike: Callable[[Kill], bool],
    more: Callable[[int], Sequence[Kill]],
) -> list[Kill]:
    """The kills that were tried: those of the plan, and as many `more` as it takes until `kills` of them
    struck, or twice as many were tried. `strike` says whether one found its process.
    """
    tried: list[Kill] = []
    struck = 0
    while plan:
        for kill in plan:
            tried.append(kill)
            struck += strike(kill)
        plan = more(min(kills - struck, _TRIES * kills - len(tried)))
    return tried


def _grouped(plan: Sequence[Kill], visited: Mapping[str, Counter[str]]) -> list[Kill]:
    order = list(visited)
    return sorted(plan, key=lambda kill: order.index(kill.operation))
