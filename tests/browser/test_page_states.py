"""States of the page that one overlooks: nothing found, a link copied, copies folded, an old index."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.test_page import RED_CIRCLE, turn_dial
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

NOTHING = {
    "hits": [],
    "attach": "tags",
    "index_version": "000003-1f0c9a2b",
    "took_ms": {},
    "next_cursor": None,
}


@pytest.fixture
def clipboard(visit: Visit) -> Page:
    """The window, where the page may write to the clipboard."""
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return visit.page


def copied(page: Page) -> str:
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def test_where_the_conditions_leave_nothing_the_page_says_so(visit: Visit) -> None:
    page = visit.open("/?tag=red&where=shape_group+%3D+hexagons")
    expect(page.locator("#blank")).to_contain_text("No picture fits.")
    expect(page.locator("#blank")).to_contain_text("take one away")
    expect(page.locator("#status")).to_contain_text("0 results for red, shape_group = hexagons")
    page.get_by_role("button", name="Remove the condition").click()
    expect(page.locator("#grid .card").first).to_be_visible()
    expect(page.locator("#blank")).to_be_hidden()


@pytest.mark.parametrize(
    ("query", "advice"),
    [("tag=circle&not=red", "Let in one of the tags"), ("tag=circle", "Try other words")],
)
def test_where_nothing_is_found_the_page_says_what_to_try(visit: Visit, query: str, advice: str) -> None:
    visit.page.route("**/v1/search", lambda route: route.fulfill(json=NOTHING))
    page = visit.open(f"/?{query}")
    expect(page.locator("#blank")).to_contain_text(advice)


def test_where_nothing_is_found_the_graph_says_so_too(visit: Visit) -> None:
    page = visit.open("/?tag=red&where=shape_group+%3D+hexagons&view=graph")
    expect(page.locator("#blank")).to_be_visible()
    expect(page.locator(".node.image")).to_have_count(0)


def test_the_link_is_copied(visit: Visit, clipboard: Page) -> None:
    page = visit.open("/?tag=circle&v=0.3")
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#share-label")).to_have_text("Copied")
    assert copied(page) == page.url


def test_the_link_is_said_not_to_hold_an_uploaded_picture(
    visit: Visit, clipboard: Page, picture_file: Path
) -> None:
    page = visit.open()
    page.set_input_files("#file", picture_file)
    expect(page.locator("#grid .card").first).to_be_visible()
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#share-label")).to_have_text("Copied, without your picture")


def test_a_dial_that_was_turned_since_is_not_copied_yet(visit: Visit, clipboard: Page) -> None:
    page = visit.open("/?tag=circle")
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#share-label")).to_have_text("Copied")
    turn_dial(page, 0.2)
    expect(page.locator("#share-label")).to_have_text("Copy link")


def test_cards_say_how_many_copies_are_folded_into_them(visit: Visit) -> None:
    with visit.page.expect_response("**/v1/search") as answered:
        page = visit.open(f"/?image={RED_CIRCLE}&copies=fold")
    hits = answered.value.json()["hits"]
    assert any(hit["near_copies"] for hit in hits)
    told = page.locator("#grid .card-tags").all_inner_texts()
    for text, hit in zip(told, hits, strict=True):
        count = len(hit["near_copies"])
        assert ("alike" in text) == (count > 0)
        if count:  # a picture without tags says no more than that
            assert text.startswith(f"+{count} alike · ") if hit["tags"] else text == f"+{count} alike"


def test_the_footer_says_that_an_older_index_is_served(visit: Visit) -> None:
    why = "The newest snapshot is damaged; an older one is served."

    def degrade(route: Route) -> None:
        told = route.fetch().json()
        route.fulfill(json=told | {"degraded": why})

    visit.page.route("**/v1/index", degrade)
    page = visit.open("/?tag=circle")
    expect(page.locator("#version")).to_contain_text(why)
