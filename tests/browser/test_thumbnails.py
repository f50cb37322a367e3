"""Small pictures that do not come, in each of the views."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_page import RED_CIRCLE
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

FIRST_REST_MS = 1000
"""Before a picture that did not come is asked for again: see thumbnail.js."""
VIEWS = {
    "/": "#start .missing",
    "/?tag=circle": "#grid .no-picture",
    f"/?image={RED_CIRCLE}&view=graph": ".node .no-picture",
}


@pytest.mark.parametrize("address", VIEWS)
def test_pictures_that_were_refused_for_a_moment_are_asked_for_again(visit: Visit, address: str) -> None:
    visit.expected_statuses = {429}
    visit.page.clock.install()
    visit.page.route("**/thumbnail", lambda route: route.fulfill(status=429))
    page = visit.open(address)
    expect(page.locator(VIEWS[address]).first).to_be_visible()
    page.unroute("**/thumbnail")
    for rest in (FIRST_REST_MS, 2 * FIRST_REST_MS):  # some may have been refused a second time by then
        page.clock.fast_forward(rest)
    expect(page.locator(VIEWS[address])).to_have_count(0)


@pytest.mark.parametrize("address", VIEWS)
def test_pictures_that_did_not_come_are_asked_for_again_when_the_network_is_back(
    visit: Visit, address: str
) -> None:
    visit.page.route("**/thumbnail", lambda route: route.abort())
    page = visit.open(address)
    expect(page.locator(VIEWS[address]).first).to_be_visible()
    page.unroute("**/thumbnail")
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator(VIEWS[address])).to_have_count(0)
