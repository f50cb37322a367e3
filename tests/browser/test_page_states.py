"""States of the page that one overlooks: nothing found, a link copied, copies folded, an old index."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.handing import hand_over
from tests.browser.test_jobs_page import refuse
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
FROM_THE_RIGHT = "\u05e7\u05e4\u05d4"
TURNED_ROUND = ["\u202egpj", "\u2069\u202egpj"]
# The right edge of the name in the line above the results, and the left edge of the time after it.
EDGES = """([status, name]) => {
  const line = document.querySelector(status).firstChild;
  const place = (words) => {
    const range = document.createRange();
    range.setStart(line, line.data.indexOf(words));
    range.setEnd(line, line.data.indexOf(words) + words.length);
    return range.getBoundingClientRect();
  };
  return [place(name).right, place('12 ms').left];
}"""


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


def test_a_phone_and_a_screen_reader_are_told_that_the_link_is_copied(phone_visit: Visit) -> None:
    phone_visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = phone_visit.open("/?tag=circle")
    label = page.locator("#share-label")
    assert label.evaluate("label => label.offsetWidth") == 1  # the picture of a link says it all
    expect(page.locator("#spoken")).to_contain_text("results for circle")
    page.get_by_role("button", name="Copy link").tap()
    expect(page.locator("#spoken")).to_have_text("Copied")
    expect(label).to_have_text("Copied")
    assert label.evaluate("label => label.offsetWidth") > 30
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("missing", [True, False])
def test_why_says_so_where_the_index_has_changed_since(visit: Visit, missing: bool) -> None:
    visit.expected_statuses = {410}
    page = visit.open("/?tag=circle")

    def another_index(route: Route) -> None:
        if missing:
            route.fulfill(json=NOTHING)
        else:
            refuse(route, 410, "The snapshot is gone.")

    page.route("**/v1/search", another_index)
    page.get_by_role("button", name="Why result 1", exact=True).click()
    dialog = page.get_by_role("dialog", name="Why this result")
    expect(dialog.get_by_role("alert")).to_contain_text("The index has changed")
    expect(dialog).not_to_contain_text("No single tag")


def test_why_closes_when_another_picture_is_dropped(visit: Visit, picture_file: Path) -> None:
    page = visit.open("/?tag=circle")
    page.get_by_role("button", name="Why result 1", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    hand_over(page, "drop", picture_file)
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#slot img")).to_be_visible()


def test_why_closes_when_one_goes_back(visit: Visit) -> None:
    page = visit.open("/?tag=circle&tag=red")
    page.get_by_role("button", name="Leave out red").click()
    visit.settle()
    page.get_by_role("button", name="Why result 1", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_in_a_low_window_nothing_stays_over_the_results(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 320, "height": 256})
    page = visit.open("/?tag=circle")
    page.locator("#grid .pick").nth(5).scroll_into_view_if_needed()
    expect(page.locator("#grid .pick").nth(5)).to_be_in_viewport()
    expect(page.locator("#box")).not_to_be_in_viewport()
    expect(page.locator("#dial")).not_to_be_in_viewport()


def test_a_name_that_is_written_from_the_right_leaves_the_numbers_where_they_are(visit: Visit) -> None:
    told = NOTHING | {"took_ms": {"total": 12.0}}
    visit.page.route("**/v1/search", lambda route: route.fulfill(json=told))
    page = visit.open(f"/?tag={quote(FROM_THE_RIGHT)}")
    expect(page.locator("#status")).to_contain_text("12 ms")
    end_of_the_name, time = page.evaluate(EDGES, ["#status", FROM_THE_RIGHT])
    assert end_of_the_name <= time


@pytest.mark.parametrize("name", TURNED_ROUND)
def test_a_name_with_signs_that_turn_the_direction_turns_nothing_beside_it(visit: Visit, name: str) -> None:
    told = NOTHING | {"took_ms": {"total": 12.0}}
    visit.page.route("**/v1/search", lambda route: route.fulfill(json=told))
    page = visit.open(f"/?tag={quote(name)}&tag=beside")
    expect(page.locator("#status")).to_contain_text("12 ms")
    end_of_the_name, time = page.evaluate(EDGES, ["#status", "gpj"])
    assert end_of_the_name <= time
    end_of_the_next, time = page.evaluate(EDGES, ["#status", "beside"])
    assert end_of_the_name < end_of_the_next <= time


def test_an_index_that_came_meanwhile_is_told_with_its_first_answer(visit: Visit) -> None:
    asked: list[str] = []

    def old_at_first(route: Route) -> None:
        asked.append(route.request.url)
        told = route.fetch().json()
        route.fulfill(json=told | {"index_version": "000000-0badcafe"} if len(asked) == 1 else told)

    visit.page.route("**/v1/index", old_at_first)
    with visit.page.expect_response("**/v1/search") as answered:
        page = visit.open("/?tag=circle")
    expect(page.locator("#version")).to_contain_text(answered.value.json()["index_version"])
    assert len(asked) == 2
