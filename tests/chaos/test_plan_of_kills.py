"""As many kills strike as were asked for."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.plan_of_kills import Kill, drawn, planned, strike_until
from tests.chaos.points import name_of

VISITED = {
    "ingest": Counter({"beginning of embed": 1, "before write blobs": 9}),
    "reindex": Counter({"end of swap": 1, "after replace CURRENT": 2}),
}


def tried(kills: int, misses: int) -> tuple[list[Kill], list[bool]]:
    """What is tried, and which of it struck, when of each operation the first `misses` come too late."""
    chosen, late, struck = random.Random(0), Counter[str](), list[bool]()

    def strike(kill: Kill) -> bool:
        late[kill.operation] += 1
        struck.append(late[kill.operation] > misses)
        return struck[-1]

    plan = planned(VISITED, kills, chosen)
    return strike_until(kills, plan, strike, lambda n: drawn(VISITED, n, chosen)), struck


def test_kills_that_came_too_late_are_made_up_for() -> None:
    kills, struck = tried(20, misses=3)
    assert sum(struck) == 20 and len(kills) == 26


def test_kills_that_never_strike_come_to_an_end() -> None:
    kills, struck = tried(20, misses=1000)
    assert not any(struck) and len(kills) == 40


def test_every_point_is_killed_at_before_any_is_drawn() -> None:
    plan = planned(VISITED, 8, random.Random(0))
    assert {(kill.operation, kill.point) for kill in plan if kill.visit == 1} >= {
        (name, point) for name, points in VISITED.items() for point in points
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("blobs/thumbnails/ea/ea54f0c1.webp", "blobs/thumbnails/#/#.webp"),
        ("blobs/originals/4a", "blobs/originals/#"),
        ("snapshots/000012-0a1b2c3d/states/image_0.npy", "snapshots/#/states/image_#.npy"),
        ("features/efficientnet_lite0-579344248a93.f32", "features/efficientnet_lite#-#.f#"),
    ],
)
def test_the_same_step_of_two_runs_is_one_point(path: str, name: str) -> None:
    assert name_of(Path(path)) == name
