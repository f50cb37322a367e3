"""What is settled on the query views once the readout is chosen."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest

from gnn import kernel_settling
from gnn.evaluation.metrics import FloatArray
from gnn.kernel_settling import NAMING_SHARES
from graph_store.arrays import Int64Array
from tests.gnn.worlds import drawn_data, trained


def test_of_all_ways_to_name_tags_only_the_best_so_far_keeps_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[FloatArray]] = []
    alive = []
    top_k = kernel_settling.top_k

    def noting(scores: FloatArray, k: int) -> Int64Array:
        alive.append(sum(earlier() is not None for earlier in made))
        made.append(weakref.ref(scores))
        return top_k(scores, k)

    monkeypatch.setattr(kernel_settling, "top_k", noting)
    trained(drawn_data(), tmp_path, epochs=1)
    assert len(alive) == len(NAMING_SHARES)
    assert max(alive) == 1
