"""The demo's steps on a few dozen drawings: built once, and not built again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.table import Table

from app.demo import source as demo_source
from app.demo.build import build_demo
from app.demo.drawings import all_drawings
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.progress import SilentProgress


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DataDir:
    """A demo of every 13th drawing: all groups, and quick to build."""
    some = all_drawings()[::13]
    monkeypatch.setattr(demo_source, "all_drawings", lambda: some)
    return DataDir(tmp_path / "demo")


def test_the_demo_is_built_measured_credited_and_then_left_alone(small_demo: DataDir) -> None:
    shown: list[object] = []
    snapshot = build_demo(small_demo, SilentProgress(), shown.append)

    with Catalog.open(small_demo.catalog_path) as catalog:
        assert catalog.count() == len(all_drawings()[::13])
        assert catalog.count("test") > 0
        assert "OpenMoji" in catalog.meta("credits")
        assert "CC BY-SA 4.0" in catalog.meta("credits")
    assert any(isinstance(item, Table) for item in shown)
    measured = json.loads((small_demo.root / "measured.json").read_bytes())
    assert measured["queries"] > 0
    assert all(0 <= system["ndcg@10"] <= 1 for system in measured["systems"].values())

    shown.clear()
    again = build_demo(small_demo, SilentProgress(), shown.append)

    assert again.version == snapshot.version
    assert any("before" in str(item) for item in shown)
