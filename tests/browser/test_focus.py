"""Where the focus goes, whether its ring is seen, and which keys are the browser's own."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect

from tests.browser.test_page import RED_CIRCLE
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

BLUE_STAR = "small-blue-star-0"
GREEN_RING = "large-green-ring-0"
# With which held keys the arrow does not reach the browser, in JavaScript.
TAKEN = """node => ['altKey', 'ctrlKey', 'metaKey'].filter((held) => !node.dispatchEvent(
  new KeyboardEvent('keydown', {key: 'ArrowLeft', [held]: true, bubbles: true, cancelable: true})))"""
# How far the ring around the focus stands out of what cuts off its surroundings, in pixels.
CUT_OFF = """([selector, around]) => {
  const node = document.querySelector(selector);
  const {outlineStyle, outlineWidth, outlineOffset} = getComputedStyle(node);
  if (outlineStyle === 'none') throw new Error('there is no ring');
  const ring = parseFloat(outlineWidth) + parseFloat(outlineOffset);
  const [inner, outer] = [node, node.closest(around)].map((one) => one.getBoundingClientRect());
  return Math.max(outer.left - (inner.left - ring), inner.right + ring - outer.right,
    outer.top - (inner.top - ring), inner.bottom + ring - outer.bottom);
}"""

# How far the focus reaches under the question, which stays at the top of the window, in pixels.
UNDER_THE_QUESTION = """document.querySelector('.ask').getBoundingClientRect().bottom
  - document.activeElement.getBoundingClientRect().top"""


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("/?tag=circle", "#dial"),
        ("/?tag=circle", "#grid .pick"),
        ("/?tag=circle", "#chips .chip-name"),
        ("/?tag=circle", "#entry"),
        (f"/?image={RED_CIRCLE}&view=graph", ".node button"),
    ],
)
def test_arrows_with_another_key_are_left_to_the_browser(visit: Visit, address: str, where: str) -> None:
    page = visit.open(address)
    assert page.locator(where).first.evaluate(TAKEN) == []


@pytest.mark.parametrize(
    ("address", "focused", "around"),
    [
        ("/?tag=circle", "#grid .pick", ".card"),
        ("/?tag=circle", "#grid .why-button", ".card"),
        (f"/?image={RED_CIRCLE}", "#suggest-list .add-tag", "ul"),
    ],
)
def test_the_ring_around_the_focus_is_seen_whole(
    visit: Visit, address: str, focused: str, around: str
) -> None:
    page = visit.open(address)
    page.keyboard.press("Tab")  # whoever uses the keyboard sees rings
    page.locator(focused).first.focus()
    assert page.evaluate(CUT_OFF, [focused, around]) <= 0.01


def test_a_chip_keeps_the_focus_on_the_part_of_it_that_was_used(visit: Visit) -> None:
    page = visit.open("/?tag=circle&tag=red")
    only = page.get_by_role("button", name="Show only red")
    only.focus()
    page.keyboard.press("Enter")
    expect(only).to_have_attribute("aria-pressed", "true")
    expect(only).to_be_focused()


def test_a_chip_that_is_taken_away_leaves_the_focus_to_its_neighbour(visit: Visit) -> None:
    page = visit.open("/?tag=circle&tag=red&tag=large")
    page.get_by_role("button", name="Remove red").click()
    expect(page.get_by_role("button", name="Remove large")).to_be_focused()


def test_a_picture_keeps_the_focus_on_the_part_of_it_that_was_used(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&also={BLUE_STAR}&also={GREEN_RING}")
    sign = page.get_by_role("button", name=f"Unlike picture {BLUE_STAR}")
    sign.click()
    expect(sign).to_have_attribute("aria-pressed", "true")
    expect(sign).to_be_focused()
    page.get_by_role("button", name=f"Remove picture {BLUE_STAR}").click()
    expect(page.get_by_role("button", name=f"Remove picture {GREEN_RING}")).to_be_focused()


def test_the_last_picture_does_not_leave_the_focus_where_a_phone_opens_its_keyboard(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&tag=red")
    page.get_by_role("button", name="Remove the picture from the query").click()
    expect(page.get_by_role("button", name="Picture", exact=True)).to_be_focused()


@pytest.mark.parametrize("name", ["Like result 3, too", "Unlike result 3"])
def test_a_result_that_joins_the_question_leaves_the_focus_to_the_next_one(visit: Visit, name: str) -> None:
    page = visit.open("/?tag=circle")
    page.get_by_role("button", name=name, exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#slot .query-picture")).to_have_count(1)
    visit.be_quiet()
    expect(page.locator("#grid li").nth(2).get_by_role("button", name=name, exact=True)).to_be_focused()


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("/?tag=circle", "#grid li:nth-child(9) .pick"),
        ("/", ".tile-tag"),
        ("/", ".plain-tags button"),
        ("/", ".from-picture button"),
    ],
)
def test_after_a_step_to_another_question_the_focus_is_on_its_first_result(
    visit: Visit, address: str, where: str
) -> None:
    page = visit.open(address)
    page.locator(where).first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#grid li").first.locator(".pick")).to_be_focused()
    assert page.evaluate("scrollY") == 0


def test_who_has_gone_elsewhere_meanwhile_keeps_the_focus_there(visit: Visit) -> None:
    page = visit.open("/?tag=circle")
    held: list[Route] = []
    page.route("**/v1/search", lambda route: held.append(route))
    page.locator("#grid .pick").nth(2).focus()
    page.keyboard.press("Enter")
    page.locator("#entry").focus()
    held[0].continue_()
    visit.settle()
    expect(page.locator("#entry")).to_be_focused()


def test_after_a_step_to_a_picture_of_the_graph_the_focus_is_on_its_nearest(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&view=graph")
    page.locator(".node.image button").nth(3).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => !location.search.includes('large-red-circle-0')")
    visit.be_quiet()
    expect(page.locator(".node.image button").first).to_be_focused()


def test_a_suggestion_that_was_added_keeps_the_focus(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}")
    add = page.get_by_role("button", name="Add red", exact=True)
    add.focus()
    page.keyboard.press("Enter")
    expect(add).to_be_disabled()
    expect(add).to_be_focused()


def test_what_has_the_focus_is_not_below_the_question(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&tag=red")
    page.locator("#refine summary").click()
    page.locator("#grid .pick").first.focus()
    page.keyboard.press("End")
    for _ in range(5):
        page.keyboard.press("ArrowUp")
        assert page.evaluate(UNDER_THE_QUESTION) <= 0
