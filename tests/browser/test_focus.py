"""Where the focus goes, whether its ring is seen, and which keys are the browser's own."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

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
