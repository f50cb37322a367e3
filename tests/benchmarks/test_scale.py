"""The scale benchmark's catalogue, meter and table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import catalogue
from benchmarks.scale.catalogue import TAGS_AN_IMAGE, World, generate
from benchmarks.scale.meter import Meter
from benchmarks.scale.report import draw, exponent, table
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir

FOUND = {
    size: {
        "reindex": {
            "similar_s": cost, "embed_s": cost, "neighbours_s": cost, "index_s": cost, "seconds": 4 * cost,
            "peak_gib": 1.5, "own_peak_gib": 0.5,
        },
        "serve": {"serving_own_gib": 0.3},
    }
    for size, cost in ((1_000, 2.0), (10_000, 20.0), (100_000, 400.0))
}  # fmt: skip


def test_the_first_pictures_of_a_larger_catalogue_are_those_of_a_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "_CHUNK", 40)
    found = []
    for images in (40, 100):
        data_dir = DataDir(tmp_path / str(images))
        generate(data_dir, images)
        with Catalog.open(data_dir.catalog_path) as opened:
            found.append(list(opened.records()))
    small, large = found
    assert (len(small), len(large)) == (40, 100)
    assert small == large[:40]
    assert all(1 <= len(record.tags) <= TAGS_AN_IMAGE for record in large)


def test_pictures_of_one_cluster_look_alike_and_share_tags() -> None:
    world = World.drawn(64)
    rng = np.random.default_rng(1)
    vectors, cluster = world.pictures(4000, rng)
    alike = cluster[:, None] == cluster[None, :]
    np.fill_diagonal(alike, False)
    cosines = vectors @ vectors.T
    assert cosines[alike].mean() > 0.4 > 0.2 > abs(cosines[~alike].mean())
    tags = world.tags(np.full(50, 7), rng)
    assert np.isin(tags, world.favourites[7]).mean() >= 0.8


def test_a_meter_tells_phases_from_the_time_between() -> None:
    meter = Meter()
    for _ in range(2):
        with meter.phase("work", 3) as advance:
            advance(3)
    figures = meter.figures()
    assert figures["seconds"] == pytest.approx(figures["work_s"] + figures["other_s"], abs=0.02)
    assert 0 < figures["own_peak_gib"] <= figures["peak_gib"]


def test_growth_is_the_slope_between_the_two_largest_sizes() -> None:
    assert exponent([1_000, 10_000, 100_000], [2.0, 20.0, 400.0]) == pytest.approx(1.301, abs=1e-3)
    assert exponent([1_000], [2.0]) is None
    assert exponent([1_000, 10_000], [2.0, None]) is None


def test_the_table_has_a_column_for_each_size() -> None:
    lines = table(FOUND).splitlines()
    assert lines[0] == "| | 1,000 | 10,000 | 100,000 | grows as |"
    assert "| kNN edges, s | 2.0 | 20.0 | 400.0 | n^1.30 |" in lines
    assert {line.count("|") for line in lines} == {6}


def test_both_plots_are_drawn(tmp_path: Path) -> None:
    draw(FOUND, tmp_path / "plots")
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"scale-cost.png", "scale-memory.png"}
