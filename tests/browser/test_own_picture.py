"""A picture of one's own: which one wins, and what of the clipboard is one at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.handing import hand_over, noise
from tests.browser.test_page import turn_dial
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


def test_a_file_that_cannot_be_read_is_no_fault_of_the_server(visit: Visit, tmp_path: Path) -> None:
    page = visit.open("/?tag=circle")
    for name in ("small.png", "large.png"):
        page.evaluate("() => { Blob.prototype.arrayBuffer = () => Promise.reject(new Error()); }")
        page.evaluate("() => { window.createImageBitmap = () => Promise.reject(new Error()); }")
        page.set_input_files("#file", noise(tmp_path / name, 16 if name == "small.png" else 500))
        expect(page.get_by_role("alert")).to_contain_text("The file cannot be read")
        expect(page.get_by_role("alert")).not_to_contain_text("tries again")
        page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#slot img")).to_have_count(0)


def test_a_small_picture_is_sent_as_it_was_when_it_was_chosen(visit: Visit, tmp_path: Path) -> None:
    page = visit.open()
    picture = noise(tmp_path / "mine.png", 32, 32)
    page.set_input_files("#file", picture)
    expect(page.locator("#slot img")).to_be_visible()
    visit.settle()
    picture.write_bytes(b"something else")
    turn_dial(page, 0.9)
    visit.be_quiet()
    assert len(visit.searches) > 1
    expect(page.get_by_role("alert")).to_be_hidden()


def test_copied_text_that_carries_a_picture_is_pasted_as_text_where_one_types(
    visit: Visit, picture_file: Path
) -> None:
    page = visit.open("/?tag=circle")
    assert not hand_over(page, "paste", picture_file, text="two cells", on="#entry")
    assert not hand_over(page, "paste", picture_file, text="two cells", on="#where")
    assert hand_over(page, "paste", picture_file, on="#entry")  # no text: the picture is meant
    expect(page.locator("#slot img")).to_be_visible()


def test_a_copied_file_is_a_picture_though_its_name_comes_along_as_text(
    visit: Visit, picture_file: Path
) -> None:
    page = visit.open("/?tag=circle")
    assert not hand_over(page, "paste", picture_file, text=f"not {picture_file.name}", on="#entry")
    assert hand_over(page, "paste", picture_file, text=picture_file.name, on="#entry")
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
