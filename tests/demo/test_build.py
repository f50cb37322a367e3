"""The demo's steps on a few dozen drawings: built once, and not built again."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.table import Table

from app.demo import source as demo_source
from app.demo.build import build_demo
from app.demo.drawings import all_drawings
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from graph_store.progress import SilentProgress
from tests.gnn.worlds import drawn_features, drawn_records, drawn_tags, write_catalogue


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


def test_a_catalogue_of_other_pictures_is_not_mixed_with_the_demo(
    small_demo: DataDir, tmp_path: Path
) -> None:
    chosen = drawn_tags(3)
    theirs = write_catalogue(tmp_path / "theirs", drawn_records(chosen), drawn_features(chosen))

    with pytest.raises(BadInput, match=r"a catalogue of 3 images.* --data"):
        build_demo(theirs, SilentProgress(), lambda shown: None)

    with Catalog.open(theirs.catalog_path) as catalog:
        assert catalog.count() == 3
    assert not (theirs.root / "demo-source").exists()


@pytest.mark.parametrize("left", ["demo.json", "demo-source"])
def test_a_catalogue_that_a_demo_was_built_in_is_taken(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reached(Exception):
        pass

    def reached(*_: object) -> None:
        raise Reached

    monkeypatch.setattr("app.demo.build.write_source", reached)
    chosen = drawn_tags(3)
    data_dir = write_catalogue(tmp_path / "theirs", drawn_records(chosen), drawn_features(chosen))
    (data_dir.root / left).mkdir()

    with pytest.raises(Reached):
        build_demo(data_dir, SilentProgress(), lambda shown: None)


def test_drawings_that_are_rendered_by_other_packages_are_indexed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SimpleNamespace] = []

    def train_and_index(*_: object) -> SimpleNamespace:
        made.append(SimpleNamespace(version=str(len(made))))
        return made[-1]

    some = all_drawings()[:12]
    monkeypatch.setattr(demo_source, "all_drawings", lambda: some)
    monkeypatch.setattr("app.demo.build._train_and_index", train_and_index)
    monkeypatch.setattr("app.demo.build._current", lambda _: made[-1])
    monkeypatch.setattr("app.demo.build._measure", lambda *_: None)

    def built() -> int:
        build_demo(DataDir(tmp_path / "demo"), SilentProgress(), lambda shown: None)
        return len(made)

    assert [built(), built()] == [1, 1]
    # The listing names the same pictures, which look different.
    monkeypatch.setattr(demo_source, "version", lambda name: "later")
    assert [built(), built()] == [2, 2]
