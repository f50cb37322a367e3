"""What the soak is made of, for seconds: every kind of call, and a growth that would be seen."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from pathlib import Path

import pytest

from gnn.reindex import reindex
from graph_store.data_dir import DataDir
from tests.api.conftest import service_of, serving
from tests.chaos.soak import Sample, ids_of, judge
from tests.chaos.traffic import Visitor


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_visitor_does_everything_and_leaves_no_file_open(built_copy: DataDir) -> None:
    with serving(built_copy.root) as client:
        visitor = Visitor(client, "visitor", ids_of(built_copy), seed=3)
        for _ in range(80):
            visitor.call()
        before = open_files()
        for _ in range(80):
            visitor.call()
        assert open_files() <= before + 2
    assert {"batch", "delete", "describe", "page", "predict", "search", "upload", "upsert"} <= set(
        visitor.calls
    )


def test_a_snapshot_that_nobody_asks_any_more_is_let_go_at_once(built_copy: DataDir) -> None:
    with serving(built_copy.root, snapshot_poll_seconds=3600) as client:
        states = service_of(client).states
        visitor = Visitor(client, "visitor", ids_of(built_copy), seed=3)
        for _ in range(60):
            visitor.call()
        first = weakref.ref(states.current.engine)
        snapshot = weakref.ref(states.current.snapshot)
        gc.collect()
        gc.disable()
        try:
            # Two older ones are kept for cursors. The garbage collector may not come by for hours.
            for _ in range(3):
                reindex(built_copy, full=True)
                states.refresh()
                visitor.search_by_tags()
            assert (first(), snapshot()) == (None, None)
        finally:
            gc.enable()


def samples(bytes_a_request: float, handles_at_end: int) -> list[Sample]:
    wobble = [0, 3 << 20, -(2 << 20), 1 << 20]
    return [
        Sample(
            seconds=float(n),
            requests=100 * n,
            anonymous=round((500 << 20) + 100 * n * bytes_a_request + wobble[n % 4]),
            resident=800 << 20,
            handles=60 if n < 150 else handles_at_end,
            threads=20,
        )
        for n in range(200)
    ]


@pytest.mark.parametrize(
    ("bytes_a_request", "handles_at_end", "sound"), [(0, 61, True), (2048, 61, False), (0, 75, False)]
)
def test_growth_is_seen_through_the_ups_and_downs_of_an_allocator(
    bytes_a_request: float, handles_at_end: int, sound: bool
) -> None:
    verdict = judge(samples(bytes_a_request, handles_at_end), 3, Counter(search=20_000))
    assert verdict.slope == pytest.approx(bytes_a_request, abs=100)
    assert verdict.sound is sound, str(verdict)
