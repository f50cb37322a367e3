"""Conditions as a person types them, and what is asked for them."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import cards
from tests.browser.test_refine import refine
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

CONDITIONS: dict[str, dict[str, Any]] = {
    "area < 0.1": {"must": [{"key": "area", "range": {"lt": 0.1}}]},
    "area<=0.1": {"must": [{"key": "area", "range": {"lte": 0.1}}]},
    "area > 0.1": {"must": [{"key": "area", "range": {"gt": 0.1}}]},
    "area exists": {"must": [{"key": "area", "exists": True}]},
    "shape_group != corners": {"must_not": [{"key": "shape_group", "match": "corners"}]},
    "shape_group = corners, round": {"must": [{"key": "shape_group", "any": ["corners", "round"]}]},
    "shape_group != corners, round": {"must_not": [{"key": "shape_group", "any": ["corners", "round"]}]},
    "free = true": {"must": [{"key": "free", "any": [True, "true"]}]},
    "year = 12": {"must": [{"key": "year", "match": 12}]},
    'year = "12"': {"must": [{"key": "year", "match": "12"}]},
    'author = "Doe, Jo"': {"must": [{"key": "author", "match": "Doe, Jo"}]},
    'author = "Doe, Jo", "Roe"': {"must": [{"key": "author", "any": ["Doe, Jo", "Roe"]}]},
    "tags = 2019": {"must": [{"key": "tags", "match": "2019"}]},
    'tags != true, "a, b"': {"must_not": [{"key": "tags", "any": ["true", "a, b"]}]},
    "title = god exists": {"must": [{"key": "title", "match": "god exists"}]},
    "serial = 1234567890123456789": {
        "must": [{"key": "serial", "any": [1234567890123456789, "1234567890123456789"]}]
    },
    "serial < -9007199254740993": {"must": [{"key": "serial", "range": {"lt": -9007199254740993}}]},
    "code = 007": {"must": [{"key": "code", "match": "007"}]},
    "code != 0x10, 7": {"must_not": [{"key": "code", "any": ["0x10", 7]}]},
    "code = 1e5": {"must": [{"key": "code", "any": [100000, "1e5"]}]},
    "code = -0.50": {"must": [{"key": "code", "match": -0.5}]},
    "area < .5": {"must": [{"key": "area", "range": {"lt": 0.5}}]},
    'size = 12" wide': {"must": [{"key": "size", "match": '12" wide'}]},
}


@pytest.mark.parametrize("typed", CONDITIONS)
def test_a_typed_condition_is_asked_as_it_is_meant(visit: Visit, typed: str) -> None:
    page = visit.open("/?tag=red")
    refine(page)
    page.get_by_label("Only where").fill(typed)
    page.keyboard.press("Enter")
    expect(page.locator("#chips .condition")).to_have_count(1)
    visit.settle()
    assert visit.last_search()["filter"] == CONDITIONS[typed]


def test_what_a_condition_leaves_out_is_not_among_the_results(visit: Visit) -> None:
    page = visit.open("/?tag=red&where=shape_group+!%3D+corners")
    expect(page.locator("#chips .condition")).to_have_text("shape_group != corners")
    assert cards(page)
    assert all("circle" in name or "ring" in name for name in cards(page))
