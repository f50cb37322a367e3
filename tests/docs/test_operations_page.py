"""The dashboard and the operations guide speak of metrics that exist, and of all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from docs.generate import exposed_metrics

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operations.md").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))
ENDINGS = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}
NAME = re.compile(r"\bimsage_[a-z_]+")


@pytest.fixture(scope="module")
def series() -> set[str]:
    """The names of the series that can be queried."""
    return {family.name + ending for family in exposed_metrics() for ending in ENDINGS.get(family.type, [""])}


def test_every_metric_of_the_dashboard_exists(series: set[str]) -> None:
    shown = set(NAME.findall(json.dumps(DASHBOARD)))

    assert len(shown) > 4
    assert not shown - series


def test_every_metric_of_the_guide_exists_and_none_is_left_out() -> None:
    documented = set(re.findall(r"`(imsage_[a-z_]+)`", PAGE))
    exposed = {family.name + ("_total" if family.type == "counter" else "") for family in exposed_metrics()}

    assert exposed <= documented
    assert not documented - exposed


def test_every_panel_asks_something_and_has_a_place_of_its_own() -> None:
    panels = DASHBOARD["panels"]
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(places)) == len(places) and max(x for x, _ in places) < 24
    for panel in panels:
        assert panel["title"] and panel["targets"]
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
            assert target["expr"].count("{") == target["expr"].count("}")


def test_the_dashboard_names_no_source_of_its_own() -> None:
    for panel in DASHBOARD["panels"]:
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert source == {"type": "prometheus", "uid": "${datasource}"}
