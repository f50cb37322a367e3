"""The query's neighbourhood, drawn."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.hostile import HOSTILE_ID, HOSTILE_TAG
from tests.browser.test_page import turn_dial
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

RED_CIRCLE = "large-red-circle-0"
# Pairs of nodes that lie over each other, in JavaScript.
OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll('.stage .node button')]
    .map((node) => node.getBoundingClientRect());
  return boxes.flatMap((a, at) => boxes.slice(at + 1).filter((b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length;
}"""


def pictures(page: Page) -> list[str]:
    """The ids of the pictures around the query."""
    ids: list[str] = page.locator(".node.image button").evaluate_all("all => all.map((node) => node.title)")
    return ids


def test_the_query_stands_among_its_neighbours_and_their_tags(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}")
    page.get_by_role("button", name="Graph", exact=True).click()
    around = page.get_by_role("list", name="Pictures next to the query").get_by_role("button")
    expect(around).to_have_count(10)
    tag = page.get_by_role("list", name="Tags around the query").get_by_role(
        "button", name=re.compile("^red,")
    )
    expect(tag).to_be_visible()
    expect(page.locator(".middle img")).to_be_visible()
    assert page.locator(".lines .line.joined").count() == 10
    assert page.locator(".lines .line.asked").count() >= 1
    assert "view=graph" in page.url
    expect(page.locator("#grid")).to_be_hidden()
    page.go_back()
    expect(page.locator("#grid .card").first).to_be_visible()
    expect(page.locator("#graph")).to_be_hidden()


def test_a_picture_of_the_neighbourhood_can_be_walked_to(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&view=graph")
    chosen = pictures(page)[1]
    page.locator(".node.image button").nth(1).click()
    page.wait_for_function(
        "id => document.querySelectorAll('.node.image').length > 0 &&"
        " [...document.querySelectorAll('.node.image button')].every((node) => node.title !== id)",
        arg=chosen,
    )
    assert f"image={chosen}" in page.url
    assert "view=graph" in page.url


def test_a_tag_of_the_neighbourhood_can_be_added(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&view=graph")
    tag = page.locator(".node.tag button").first
    name = tag.inner_text()
    tag.click()
    expect(page.locator("#chips .word")).to_have_text(name)
    expect(page.locator(".node.tag button").get_by_text(name, exact=True)).to_have_attribute(
        "aria-disabled", "true"
    )


def test_a_tag_that_is_in_the_query_already_changes_nothing(visit: Visit) -> None:
    page = visit.open("/?tag=circle&not=red&view=graph")
    left_out = page.locator(".node.against button")
    expect(left_out).to_have_attribute("aria-disabled", "true")
    left_out.dispatch_event("click")
    expect(page.locator("#chips .chip.negated")).to_have_text("not red")
    assert page.url.endswith("/?tag=circle&not=red&view=graph")


def test_a_tag_that_was_added_keeps_the_focus(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&view=graph")
    last = page.locator(".node.tag button").last
    name = last.inner_text()
    last.focus()
    page.keyboard.press("Enter")
    added = page.locator(".node.tag button").get_by_text(name, exact=True)
    expect(added).to_have_attribute("aria-disabled", "true")
    expect(added).to_be_focused()


def test_words_alone_stand_among_their_first_results(visit: Visit) -> None:
    page = visit.open("/?tag=triangle&view=graph")
    expect(page.locator(".node.image").first).to_be_visible()
    assert page.locator(".lines .line.found").count() == page.locator(".node.image").count()
    expect(page.locator(".graph-note")).to_contain_text("first results")


def test_another_picture_chosen_meanwhile_is_what_the_graph_shows(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&view=graph")
    page.get_by_role("button", name="Grid", exact=True).click()
    visit.settle()
    page.get_by_role("button", name=re.compile("^Result 3:")).click()
    visit.settle()
    chosen = page.evaluate("new URLSearchParams(location.search).get('image')")
    assert chosen != RED_CIRCLE
    page.get_by_role("button", name="Graph", exact=True).click()
    visit.be_quiet()
    page.wait_for_timeout(300)
    expect(page.locator(".middle img")).to_have_attribute("src", re.compile(re.escape(chosen)))
    assert chosen not in pictures(page)


def test_the_dial_renumbers_the_neighbours(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&tag=star&view=graph&v=0")
    ranks = "() => [...document.querySelectorAll('.rank')].map((rank) => rank.textContent).join()"
    before = page.evaluate(ranks)
    page.locator("#dial").evaluate("dial => { dial.value = 1; dial.dispatchEvent(new Event('input')); }")
    page.wait_for_function(f"before => ({ranks})() !== before", arg=before)


def test_a_picture_that_the_graph_does_not_know_is_looked_up_once(visit: Visit) -> None:
    visit.expected_statuses = {404}
    looked_up: list[str] = []

    def know_none(route: Route) -> None:
        looked_up.append(route.request.url)
        route.fulfill(status=404, body="{}", content_type="application/problem+json")

    visit.page.route("**/neighbors", know_none)
    page = visit.open("/?tag=triangle&view=graph")
    turn_dial(page, 0.6)
    visit.be_quiet()
    turn_dial(page, 0.5)
    visit.be_quiet()
    assert looked_up and len(set(looked_up)) == len(looked_up)


def test_arrow_keys_walk_the_neighbourhood(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&view=graph")
    stops = page.locator(".node button[tabindex='0']")
    expect(stops).to_have_count(1)
    stops.focus()
    seen = {stops.get_attribute("title")}
    for key in ("ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
        expect(stops).to_be_focused()
        seen.add(stops.get_attribute("title"))
    assert len(seen) > 2


@pytest.mark.parametrize("query", [f"image={RED_CIRCLE}", "tag=triangle&not=red"])
def test_no_node_hides_another(visit: Visit, phone_visit: Visit, query: str) -> None:
    for window in (visit, phone_visit):
        page = window.open(f"/?{query}&view=graph")
        expect(page.locator(".node.tag").first).to_be_visible()
        assert page.evaluate(OVERLAPS) == 0
    assert phone_visit.page.evaluate("document.documentElement.scrollWidth") == 360


def test_hostile_names_are_drawn_as_text(hostile_visit: Visit) -> None:
    page = hostile_visit.open("/?tag=circle&view=graph")
    expect(page.locator(".node.tag").get_by_text(HOSTILE_TAG, exact=True)).to_be_visible()
    page = hostile_visit.open("/?image=" + HOSTILE_ID.replace("%", "%25").replace("#", "%23") + "&view=graph")
    expect(page.locator(".node.image").first).to_be_visible()
    assert page.evaluate("window.pwned") is None
    assert page.locator("main script, main [onerror], main [onload]").count() == 0
