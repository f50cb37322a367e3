"""What narrows a question on the page: strict tags, conditions, more pictures, variety, near copies."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_page import RED_CIRCLE, address, cards
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser


def refine(page: Page) -> None:
    page.locator("#refine summary").click()


def test_a_strict_tag_is_on_every_result_and_a_negated_one_on_none(visit: Visit) -> None:
    page = visit.open("/?tag=circle&not=red")
    page.get_by_role("button", name="Show only circle").click()
    page.wait_for_url("**only=circle**")
    page.get_by_role("button", name="Never show red").click()
    page.wait_for_url("**never=red**")
    visit.settle()
    assert visit.last_search()["filter"] == {
        "must": [{"key": "tags", "match": "circle"}],
        "must_not": [{"key": "tags", "match": "red"}],
    }
    shown = cards(page)
    assert shown and all("circle" in name and "red" not in name for name in shown)
    expect(page.get_by_role("button", name="Show only circle")).to_have_attribute("aria-pressed", "true")


def test_a_condition_is_typed_shown_as_a_chip_and_taken_away(visit: Visit) -> None:
    page = visit.open("/?tag=red")
    refine(page)
    page.get_by_label("Only where").fill("shape_group = corners")
    page.keyboard.press("Enter")
    expect(page.locator("#chips .condition")).to_have_text("shape_group = corners")
    visit.settle()
    assert visit.last_search()["filter"] == {"must": [{"key": "shape_group", "match": "corners"}]}
    assert cards(page) and not any(re.search("circle|ring", name) for name in cards(page))
    assert address(page)["where"] == ["shape_group = corners"]
    page.get_by_role("button", name="Remove the condition").click()
    expect(page.locator("#chips .condition")).to_have_count(0)
    visit.settle()
    assert "filter" not in visit.last_search()


def test_what_is_no_condition_is_said_and_nothing_is_asked(visit: Visit) -> None:
    page = visit.open("/?tag=red")
    refine(page)
    asked = len(visit.searches)
    page.get_by_label("Only where").fill("only the good ones")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Write an attribute")).to_be_visible()
    assert len(visit.searches) == asked


def test_results_are_added_as_pictures_to_be_like_or_unlike(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}")
    liked, unliked = cards(page)[0], cards(page)[3]
    page.get_by_role("button", name="Unlike result 4", exact=True).click()
    page.wait_for_url("**unlike=**")
    visit.settle()
    at = cards(page).index(liked) + 1
    page.get_by_role("button", name=f"Like result {at}, too", exact=True).click()
    page.wait_for_url("**also=**")
    visit.settle()
    assert visit.last_search()["image"] == [
        {"id": RED_CIRCLE},
        {"id": unliked, "weight": -1},
        {"id": liked, "weight": 1},
    ]
    assert not {liked, unliked} & set(cards(page))
    expect(page.locator("#slot img")).to_have_count(3)
    page.get_by_role("button", name=f"Unlike picture {unliked}").click()
    page.get_by_role("button", name="Remove the picture from the query").click()
    # The next one to be like takes the first place.
    visit.settle()
    assert visit.last_search()["image"] == [{"id": unliked}, {"id": liked, "weight": 1}]


def test_an_uploaded_picture_goes_with_others(visit: Visit, picture_file: object) -> None:
    page = visit.open()
    page.set_input_files("#file", str(picture_file))
    expect(page.locator("#grid .card").first).to_be_visible()
    visit.settle()
    liked = cards(page)[0]
    page.get_by_role("button", name="Like result 1, too", exact=True).click()
    page.wait_for_url("**also=**")
    visit.settle()
    sent = visit.last_search()["image"]
    assert isinstance(sent, list) and "data" in sent[0] and sent[1] == {"id": liked, "weight": 1}
    assert cards(page)


def test_variety_and_folded_copies_are_asked_for_and_kept_in_the_address(visit: Visit) -> None:
    page = visit.open("/?tag=circle")
    refine(page)
    page.get_by_label("Fold near copies").check()
    page.wait_for_url("**copies=fold**")
    page.get_by_label("Variety").fill("0.4")
    page.wait_for_url("**variety=0.4**")
    visit.settle()
    assert visit.last_search()["diversity"] == 0.4 and visit.last_search()["collapse"] == 0.97
    visit.open("/?tag=circle&variety=0.4&copies=fold")
    expect(page.get_by_label("Fold near copies")).to_be_checked()
    expect(page.locator("#variety-share")).to_have_text("40 %")


def test_the_panel_opens_for_an_address_that_refines_and_can_be_kept_closed(visit: Visit) -> None:
    page = visit.open("/?tag=circle&tag=red&variety=0.2")
    panel = page.locator("#refine")
    expect(panel).to_have_attribute("open", "")
    refine(page)
    page.get_by_role("button", name="Leave out red").click()
    page.wait_for_url("**not=red**")
    expect(panel).not_to_have_attribute("open", "")
    page.go_back()
    expect(panel).to_have_attribute("open", "")


def test_clear_takes_all_of_it_away(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&only=red&where=area+%3E+0&variety=0.2&copies=fold")
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator("#start")).to_be_visible()
    assert address(page) == {}
    expect(page.get_by_label("Fold near copies")).not_to_be_checked()
