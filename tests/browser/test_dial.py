"""The results follow the dial while a hand drags it, not only when it lets go."""

from __future__ import annotations

import pytest

from tests.browser.test_page import RED_CIRCLE, SHOWN, address, cards
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser


def test_the_results_are_reranked_while_the_mouse_still_drags_the_dial(moving_visit: Visit) -> None:
    page = moving_visit.open(f"/?image={RED_CIRCLE}&tag=star&v=0")
    before = cards(page)
    box = page.locator("#dial").bounding_box()
    assert box is not None
    left, right, middle = box["x"] + 14, box["x"] + box["width"] - 14, box["y"] + box["height"] / 2
    page.mouse.move(left, middle)
    page.mouse.down()
    orders = [before]
    for share in (0.35, 0.7, 1.0):
        page.mouse.move(left + share * (right - left), middle, steps=8)
        page.wait_for_function(f"before => {SHOWN}.join() !== before", arg=",".join(orders[-1]))
        orders.append(cards(page))
    # Nobody has let go yet: the results moved three times, and the address rests until the hand does.
    assert moving_visit.most_at_once == 1
    assert all(sorted(order) != [] for order in orders)
    page.mouse.up()
    moving_visit.settle()
    page.wait_for_url("**v=1")
    assert moving_visit.last_search()["visual_weight"] == 1
    assert address(page)["v"] == ["1"]
