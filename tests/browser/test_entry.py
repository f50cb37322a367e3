"""What is sent with Enter arrives, whatever happens before its look-up is answered."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

LOOK_UPS = "**/v1/tags?*"


def send(page: Page, words: str) -> None:
    """Enter, with the words in the entry, and no suggestion asked for before."""
    entry = page.get_by_role("combobox")
    entry.focus()
    entry.evaluate("(entry, words) => { entry.value = words; }", words)
    entry.press("Enter")


def hold(page: Page, words: str) -> Route:
    """Sends the words; the look-up that waits for its answer."""
    held: list[Route] = []
    page.route(LOOK_UPS, lambda route: held.append(route))
    send(page, words)
    while not held:
        page.wait_for_timeout(20)
    return held[0]


def test_words_stay_sent_when_the_focus_goes_before_their_look_up_is_answered(visit: Visit) -> None:
    page = visit.open()
    look_up = hold(page, "red")
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox")).not_to_be_focused()
    look_up.continue_()
    page.wait_for_url("**/?tag=red")


def test_what_is_typed_meanwhile_is_neither_sent_nor_lost(visit: Visit) -> None:
    page = visit.open()
    look_up = hold(page, "red")
    entry = page.get_by_role("combobox")
    expect(entry).to_have_value("")
    page.keyboard.type("sta")
    look_up.continue_()
    page.wait_for_url("**/?tag=red")
    expect(entry).to_have_value("sta")


def test_words_that_cannot_be_looked_up_are_searched_for(visit: Visit) -> None:
    page = visit.open()
    page.route(LOOK_UPS, lambda route: route.abort())
    send(page, "red")
    page.wait_for_url("**/?text=red")
    expect(page.locator("#grid .card").first).to_be_visible()


def test_words_that_are_still_looked_up_go_with_the_query_that_is_cleared(visit: Visit) -> None:
    page = visit.open("/?tag=circle")
    hold(page, "red")
    page.get_by_role("button", name="Clear", exact=True).click()
    page.unroute(LOOK_UPS)
    page.wait_for_timeout(300)
    expect(page.locator("#start")).to_be_visible()
    assert page.url == visit.url + "/"
