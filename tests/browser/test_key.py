"""A server that asks for a key: a gate before the real one refuses what carries none."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

KEY = "imsage_test-key.123"
REFUSED = '{"type": "x", "title": "Unauthorized", "status": 401, "detail": "A key is needed."}'


@pytest.fixture
def gated(visit: Visit) -> Visit:
    """A visit to a server that answers only to KEY."""
    visit.expected_statuses = {401}
    _gate(visit.page.context)
    return visit


def _gate(context: BrowserContext) -> None:
    def gate(route: Route) -> None:
        if route.request.headers.get("authorization") == f"Bearer {KEY}":
            route.continue_()
        else:
            route.fulfill(status=401, body=REFUSED, content_type="application/problem+json")

    context.route("**/v1/**", gate)


def _give(page: Page, key: str) -> None:
    dialog = page.get_by_role("dialog", name="This server asks for a key")
    dialog.get_by_label("API key").fill(key)
    dialog.get_by_role("button", name="Use the key").click()


def test_a_key_is_asked_for_once_and_then_everything_works_pictures_too(gated: Visit) -> None:
    page = gated.open("/?tag=circle")
    _give(page, KEY)
    expect(page.locator("#grid .card").first).to_be_visible()
    picture = page.locator("#grid .pick img").first
    expect(picture).to_have_attribute("src", re.compile("^blob:"))
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert KEY not in page.url
    assert page.evaluate("sessionStorage.length") == 1
    page.reload()
    expect(page.locator("#grid .card").first).to_be_visible()  # the tab remembers


def test_a_wrong_key_is_said_to_be_wrong(gated: Visit) -> None:
    page = gated.open("/?tag=circle")
    _give(page, "not-the-key")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("did not accept")
    _give(page, KEY)
    expect(page.locator("#grid .card").first).to_be_visible()


def test_a_key_that_no_header_can_carry_is_refused_before_it_is_sent(gated: Visit) -> None:
    page = gated.open("/?tag=circle")
    _give(page, "two words")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("no spaces")


def test_without_a_key_the_page_says_so_and_asks_again_on_demand(gated: Visit) -> None:
    page = gated.open("/?tag=circle")
    page.keyboard.press("Escape")
    alert = page.locator("#problem")
    expect(alert).to_contain_text("A key is needed.")
    alert.get_by_role("button", name="Give a key").click()
    _give(page, KEY)
    expect(page.locator("#grid .card").first).to_be_visible()


def test_a_key_can_be_forgotten(gated: Visit) -> None:
    page = gated.open("/?tag=circle")
    _give(page, KEY)
    expect(page.locator("#grid .card").first).to_be_visible()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("dialog", name="This server asks for a key")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
