"""A picture of one's own: which one wins, and what of the clipboard is one at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.handing import hand_over, noise
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

# The picture slow.png is made small when goOn() is called, in JavaScript.
SLOW = """() => {
  const real = window.createImageBitmap;
  window.createImageBitmap = async (file) => {
    if (file.name === 'slow.png') await new Promise((go) => { window.goOn = go; });
    return real(file);
  };
}"""


def clear(page: Page) -> None:
    page.get_by_role("button", name="Clear", exact=True).click()


def go_back(page: Page) -> None:
    page.go_back()


def test_of_two_pictures_the_later_one_wins_though_it_is_ready_first(visit: Visit, tmp_path: Path) -> None:
    page = visit.open()
    page.evaluate(SLOW)
    page.set_input_files("#file", noise(tmp_path / "slow.png"))
    expect(page.locator("body")).to_have_class("taking")  # a line at the top says that something is coming
    page.set_input_files("#file", noise(tmp_path / "quick.png"))
    picture = page.locator("#slot img")
    expect(picture).to_have_attribute("alt", "Your picture quick.png")
    expect(page.locator("body")).not_to_have_class("taking")
    page.evaluate("goOn()")
    page.wait_for_timeout(500)
    expect(picture).to_have_attribute("alt", "Your picture quick.png")


@pytest.mark.parametrize("leave", [clear, go_back])
def test_a_picture_is_dropped_when_the_query_is_left_before_it_is_ready(
    visit: Visit, tmp_path: Path, leave: Callable[[Page], None]
) -> None:
    page = visit.open("/?tag=circle&tag=red")
    page.get_by_role("button", name="Leave out red").click()
    page.evaluate(SLOW)
    page.set_input_files("#file", noise(tmp_path / "slow.png"))
    expect(page.locator("body")).to_have_class("taking")
    leave(page)
    expect(page.locator("body")).not_to_have_class("taking")
    page.evaluate("goOn()")
    page.wait_for_timeout(500)
    expect(page.locator("#slot img")).to_have_count(0)


def test_copied_text_that_carries_a_picture_is_pasted_as_text_where_one_types(
    visit: Visit, picture_file: Path
) -> None:
    page = visit.open("/?tag=circle")
    assert not hand_over(page, "paste", picture_file, text="two cells", on="#entry")
    assert not hand_over(page, "paste", picture_file, text="two cells", on="#where")
    assert hand_over(page, "paste", picture_file, on="#entry")  # no text: the picture is meant
    expect(page.locator("#slot img")).to_be_visible()


def test_a_picture_with_text_is_taken_where_nobody_types(visit: Visit, picture_file: Path) -> None:
    page = visit.open("/?tag=circle")
    assert hand_over(page, "paste", picture_file, text="two cells")
    expect(page.locator("#slot img")).to_be_visible()


def test_nothing_is_pasted_behind_a_dialog(visit: Visit, picture_file: Path) -> None:
    page = visit.open("/?tag=circle")
    page.get_by_role("button", name="Why result 1", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert not hand_over(page, "paste", picture_file)
    expect(page.get_by_role("dialog")).to_be_visible()
