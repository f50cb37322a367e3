"""`imsage info` beside a job that removes what it is counting."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.info import describe
from graph_store.data_dir import DataDir
from graph_store.snapshot import Snapshot
from tests.api.test_snapshot_swap import commit_copy


@pytest.mark.parametrize("moment", ["before it is listed", "before its files are measured"])
def test_a_snapshot_that_is_pruned_meanwhile_does_not_count(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    older = Snapshot.open(built_copy).directory
    commit_copy(built_copy)
    walk = os.walk

    def pruned(folder: Path) -> Iterator[Any]:
        for place, folders, names in walk(folder):
            if Path(place) == (older.parent if moment == "before it is listed" else older):
                shutil.rmtree(older, ignore_errors=True)
            yield place, folders, names

    monkeypatch.setattr(os, "walk", pruned)
    told = describe(built_copy).bytes
    assert not older.exists()
    left = sum(path.stat().st_size for path in built_copy.root.rglob("*") if path.is_file())
    assert told == left
