"""What a person does on the page."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.handing import hand_over, noise
from tests.browser.hostile import HOSTILE_ID, HOSTILE_MARKUP, HOSTILE_TAG
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

RED_CIRCLE = "large-red-circle-0"
# The ids of the results, in JavaScript.
SHOWN = "[...document.querySelectorAll('#grid .pick')].map((pick) => pick.title)"


def cards(page: Page) -> list[str]:
    """The ids of the results, in their order."""
    ids: list[str] = page.evaluate(SHOWN)
    return ids


def address(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def turn_dial(page: Page, to: float) -> None:
    page.locator("#dial").evaluate(
        "(dial, to) => { dial.value = to; dial.dispatchEvent(new Event('input', {bubbles: true})); }", to
    )


def test_the_first_view_offers_popular_tags_and_pictures_to_start_from(visit: Visit) -> None:
    page = visit.open()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    tiles = page.get_by_role("list", name="Popular tags").get_by_role("button")
    expect(tiles).to_have_count(6)
    tiles.first.click()
    expect(page.locator("#grid .card").first).to_be_visible()
    expect(page.locator("#start")).to_be_hidden()
    assert "tag" in address(page)
    page.go_back()
    expect(page.locator("#start")).to_be_visible()


def test_the_footer_names_the_index(visit: Visit) -> None:
    page = visit.open()
    expect(page.locator("#version")).to_contain_text(re.compile(r"index \d{6}-[0-9a-f]{8}"))
    expect(page.locator("#facts")).to_contain_text("pictures")


def test_a_typed_tag_is_completed_and_shows_results_with_split_bars(visit: Visit) -> None:
    page = visit.open()
    entry = page.get_by_role("combobox")
    entry.press_sequentially("tri")
    option = page.get_by_role("option", name=re.compile("^triangle"))
    expect(option).to_be_visible()
    entry.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    entry.press("Enter")
    expect(page.locator("#grid .card .split").first).to_be_visible()
    assert address(page) == {"tag": ["triangle"]}
    assert "triangle" in cards(page)[0]
    bar = page.locator("#grid .card .split").first
    expect(bar).to_have_attribute("aria-label", re.compile(r"^Concept -?\d\.\d\d, visual -?\d\.\d\d$"))
    width = bar.locator(".concept").evaluate("part => part.getBoundingClientRect().width")
    assert width > 0
    expect(page.get_by_role("status")).to_contain_text("for triangle")


def test_words_that_are_no_tag_become_free_text(visit: Visit) -> None:
    page = visit.open()
    entry = page.get_by_role("combobox")
    entry.press_sequentially("a crimson disc")
    entry.press("Enter")
    expect(page.locator("#grid .card").first).to_be_visible()
    assert address(page) == {"text": ["a crimson disc"]}
    page.get_by_role("button", name="Change the words a crimson disc").click()
    expect(entry).to_have_value("a crimson disc")


def test_enter_on_the_exact_name_of_a_tag_takes_the_tag(visit: Visit) -> None:
    page = visit.open()
    entry = page.get_by_role("combobox")
    entry.fill("Red")
    entry.press("Enter")
    page.wait_for_url("**/?tag=red")


def test_turning_the_dial_reorders_the_results_and_the_address_follows(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&tag=star")
    conceptual_first = cards(page)
    turn_dial(page, 1)
    expect(page.locator("#visual-share")).to_have_text("100 %")
    visit.settle()
    page.wait_for_function(
        "before => [...document.querySelectorAll('#grid .pick')].map(b => b.title).join() !== before",
        arg=",".join(conceptual_first),
    )
    page.wait_for_url("**v=1")
    assert visit.last_search()["visual_weight"] == 1
    assert page.evaluate("history.length") == 2  # the dial leaves no trail of steps behind the Back button


def test_the_dial_answers_to_arrow_keys_and_says_its_balance(visit: Visit) -> None:
    page = visit.open("/?tag=red")
    dial = page.get_by_role("slider")
    dial.focus()
    dial.press("ArrowLeft")
    dial.press("ArrowLeft")
    page.wait_for_url("**v=0.4")
    expect(dial).to_have_attribute("aria-valuetext", "60 % concept, 40 % visual")


def test_a_swept_dial_asks_one_question_at_a_time_and_the_last_wins(moving_visit: Visit) -> None:
    page = moving_visit.open(f"/?image={RED_CIRCLE}")
    moving_visit.searches.clear()
    page.evaluate(
        """async () => {
          const dial = document.getElementById('dial');
          for (let step = 0; step <= 60; step += 1) {
            dial.value = String(step / 100);
            dial.dispatchEvent(new Event('input', {bubbles: true}));
            await new Promise((next) => setTimeout(next, 4));
          }
        }"""
    )
    moving_visit.settle()
    assert moving_visit.most_at_once == 1
    assert 2 <= len(moving_visit.searches) <= 61
    assert moving_visit.last_search()["visual_weight"] == 0.6
    page.wait_for_url("**v=0.6")


def test_a_long_drag_changes_the_address_once_it_rests(visit: Visit) -> None:
    page = visit.open("/?tag=red")
    page.evaluate(
        """async () => {
          window.changes = 0;
          const replace = history.replaceState.bind(history);
          history.replaceState = (...given) => { window.changes += 1; replace(...given); };
          const dial = document.getElementById('dial');
          for (let step = 0; step <= 300; step += 1) {
            dial.value = String((step % 101) / 100);
            dial.dispatchEvent(new Event('input', {bubbles: true}));
            if (step % 20 === 0) await new Promise(requestAnimationFrame);
          }
        }"""
    )
    page.wait_for_url("**v=0.98")
    assert page.evaluate("window.changes") < 10  # browsers refuse hundreds in a row


def test_clicking_a_result_searches_from_it_and_back_returns(visit: Visit) -> None:
    page = visit.open("/?tag=star")
    chosen = cards(page)[1]
    page.locator("#grid .pick").nth(1).click()
    expect(page.locator("#slot img")).to_have_attribute("alt", f"Picture {chosen}")
    visit.settle()
    assert address(page) == {"image": [chosen], "tag": ["star"]}
    assert chosen not in cards(page)
    page.go_back()
    expect(page.locator("#slot img")).to_have_count(0)
    page.wait_for_function(
        "id => [...document.querySelectorAll('#grid .pick')].some(b => b.title === id)", arg=chosen
    )


def test_the_tags_of_a_picture_are_offered(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}")
    page.get_by_role("button", name="Add red", exact=True).click()
    page.wait_for_url("**tag=red")
    expect(page.get_by_role("button", name="Add red", exact=True)).to_be_disabled()


def test_an_uploaded_picture_shows_its_predicted_tags_and_results(visit: Visit, picture_file: Path) -> None:
    page = visit.open()
    page.set_input_files("#file", picture_file)
    expect(page.locator("#suggest-title")).to_have_text("Seen in your picture")
    likely = page.get_by_role("button", name=re.compile(r"^Add .+, likely at \d+ %$"))
    expect(likely.first).to_be_visible()
    expect(page.locator("#grid .card").first).to_be_visible()
    expect(page.locator("#slot img")).to_be_visible()
    likely.first.click()
    expect(page.locator("#chips .chip")).to_have_count(1)
    assert "image" not in address(page)
    # Back and forth, the picture is still there: it is kept in this tab.
    page.get_by_role("button", name="Remove the picture").click()
    expect(page.locator("#slot img")).to_have_count(0)
    page.go_back()
    expect(page.locator("#slot img")).to_be_visible()


def test_a_large_picture_is_made_small_before_it_is_sent(visit: Visit, tmp_path: Path) -> None:
    file = noise(tmp_path / "large.png", 1200, 900)
    assert file.stat().st_size > 3_000_000
    page = visit.open()
    with page.expect_request("**/v1/search/upload") as sent:
        page.set_input_files("#file", file)
    assert len(sent.value.post_data_buffer or b"") < 400_000
    expect(page.locator("#grid .card").first).to_be_visible()


def test_skipping_to_the_results_keeps_an_uploaded_picture(visit: Visit, picture_file: Path) -> None:
    page = visit.open("/")
    page.set_input_files("#file", picture_file)
    expect(page.locator("#grid .card").first).to_be_visible()
    visit.be_quiet()
    asked = len(visit.searches)
    page.locator("#skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_focused()
    expect(page.locator("#grid .card").first).to_be_visible()
    visit.be_quiet()
    assert len(visit.searches) == asked and "#" not in page.url


def test_enter_that_ends_a_composition_searches_for_nothing(visit: Visit) -> None:
    page = visit.open("/")
    asked = len(visit.searches)
    page.locator("#entry").fill("re")
    page.locator("#entry").dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    page.wait_for_timeout(300)
    expect(page.locator("#entry")).to_have_value("re")
    assert len(visit.searches) == asked


def test_a_picture_can_be_dropped_anywhere(visit: Visit, picture_file: Path) -> None:
    page = visit.open()
    hand_over(page, "dragenter", picture_file)
    expect(page.locator("#veil")).to_have_class("veil shown")
    hand_over(page, "drop", picture_file)
    expect(page.locator("#veil")).to_have_class("veil")
    expect(page.locator("#grid .card").first).to_be_visible()


def test_a_picture_can_be_pasted(visit: Visit, picture_file: Path) -> None:
    page = visit.open()
    hand_over(page, "paste", picture_file)
    expect(page.locator("#grid .card").first).to_be_visible()


def test_clicking_a_chip_leaves_its_tag_out(visit: Visit) -> None:
    page = visit.open("/?tag=circle&tag=red")
    page.get_by_role("button", name="Leave out red").click()
    page.wait_for_url("**not=red")
    chip = page.locator("#chips .chip.negated")
    expect(chip).to_have_text("not red")
    expect(page.get_by_role("button", name="Leave out red")).to_have_attribute("aria-pressed", "true")
    visit.settle()
    assert {"name": "red", "weight": -1} in visit.last_search()["tags"]  # type: ignore[operator]
    assert not any("red" in result for result in cards(page)[:4])


def test_chips_work_by_keyboard_alone(visit: Visit) -> None:
    page = visit.open("/?tag=circle&tag=red")
    entry = page.get_by_role("combobox")
    page.keyboard.press("/")
    expect(entry).to_be_focused()
    page.keyboard.press("Backspace")
    expect(page.get_by_role("button", name="Leave out red")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Leave out red")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Leave out red")).to_be_focused()
    page.keyboard.press("Delete")
    expect(page.locator("#chips .chip")).to_have_count(1)
    expect(page.get_by_role("button", name="Leave out circle")).to_be_focused()


def test_a_minus_sign_asks_for_a_tag_to_be_left_out(visit: Visit) -> None:
    page = visit.open("/?tag=circle")
    entry = page.get_by_role("combobox")
    entry.press_sequentially("-red")
    entry.press("Enter")
    page.wait_for_url("**not=red")


def test_arrow_keys_walk_the_results(visit: Visit) -> None:
    page = visit.open("/?tag=circle")
    picks = page.locator("#grid .pick")
    picks.first.focus()
    page.keyboard.press("ArrowRight")
    expect(picks.nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    columns = page.locator("#grid").evaluate(
        "grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length"
    )
    expect(picks.nth(1 + columns)).to_be_focused()
    assert page.locator("#grid .pick[tabindex='0']").count() == 1
    page.keyboard.press("Home")
    chosen = cards(page)[0]
    page.keyboard.press("Enter")
    page.wait_for_url(f"**image={chosen}*")


def test_why_shows_the_sum_the_tags_that_spoke_and_the_neighbours(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&tag=round&v=0.4")
    page.get_by_role("button", name="Why result 1", exact=True).click()
    dialog = page.get_by_role("dialog", name="Why this result")
    expect(dialog).to_be_visible()
    shown = re.search(
        r"(-?[\d.]+) = (-?[\d.]+) concept \+ (-?[\d.]+) visual", dialog.inner_text().replace("\n", " ")
    )
    assert shown is not None
    score, concept, visual = (float(number) for number in shown.groups())
    assert abs(score - concept - visual) <= 0.011  # each is rounded to two places
    expect(dialog.locator(".spoke li").first).to_be_visible()
    expect(dialog.locator(".neighbours img").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Why result 1", exact=True)).to_be_focused()


def test_an_address_opens_the_same_question(visit: Visit) -> None:
    page = visit.open(f"/?image={RED_CIRCLE}&tag=star&not=small&text=bright%20%26%20clear&v=0.25")
    expect(page.locator("#chips .chip")).to_have_count(3)
    expect(page.locator("#visual-share")).to_have_text("25 %")
    assert visit.last_search() == {
        "image": {"id": RED_CIRCLE},
        "tags": [{"name": "star", "weight": 1}, {"name": "small", "weight": -1}],
        "text": "bright & clear",
        "visual_weight": 0.25,
        "limit": 48,
    }


def test_more_results_are_fetched_by_cursor_and_follow_what_is_there(visit: Visit) -> None:
    page = visit.open("/?tag=circle")
    first = cards(page)
    assert len(first) == 48
    page.get_by_role("button", name="Show more").click()
    page.wait_for_function("() => document.querySelectorAll('#grid .card').length > 48")
    both = cards(page)
    assert both[:48] == first
    assert len(set(both)) == len(both)
    assert "cursor" in visit.last_search()
    turn_dial(page, 0)
    visit.settle()
    assert visit.last_search()["limit"] == len(both)  # the page keeps its length under the reader
    assert len(cards(page)) == len(both)


def test_why_explains_a_result_of_a_later_page(visit: Visit) -> None:
    page = visit.open("/?tag=circle")
    page.get_by_role("button", name="Show more").click()
    page.get_by_role("button", name="Why result 60", exact=True).click()
    expect(page.get_by_role("dialog").locator("section").first).to_be_visible()
    assert visit.last_search()["explain"] is True
    assert "cursor" in visit.last_search()


def test_hostile_tags_and_ids_are_shown_as_text_and_do_not_run(hostile_visit: Visit) -> None:
    page = hostile_visit.open()
    expect(page.get_by_role("button", name=HOSTILE_TAG).first).to_be_visible()
    entry = page.get_by_role("combobox")
    entry.press_sequentially("<scr")
    expect(page.get_by_role("option").first).to_contain_text(HOSTILE_TAG)
    entry.press("ArrowDown")
    entry.press("Enter")
    expect(page.locator("#chips .word")).to_have_text(HOSTILE_TAG)
    expect(page.locator("#grid .card-tags").first).to_contain_text("<script>")
    page.get_by_role("button", name="Why result 1", exact=True).click()
    expect(
        page.get_by_role("dialog").get_by_role("button", name=f"Add {HOSTILE_TAG} to the query")
    ).to_be_visible()
    page.keyboard.press("Escape")
    page.locator("#grid").get_by_title(HOSTILE_ID, exact=True).click()
    hostile_visit.settle()
    assert address(page)["image"] == [HOSTILE_ID]
    page.wait_for_function("() => document.querySelector('#slot img').naturalWidth > 0")
    hostile_visit.open("/?" + f"tag={HOSTILE_MARKUP}&text={HOSTILE_TAG}".replace(" ", "%20"))
    expect(page.locator("#chips .word")).to_have_text([HOSTILE_MARKUP, f"“{HOSTILE_TAG}”"])
    assert page.evaluate("window.pwned") is None
    assert page.locator("main script, main [onerror], main [onload]").count() == 0


@pytest.mark.parametrize(
    "query", ["/", f"/?image={RED_CIRCLE}&tag=red&not=small&text=a+{'very+' * 12}long+phrase"]
)
def test_a_phone_never_scrolls_sideways(phone_visit: Visit, query: str) -> None:
    page = phone_visit.open(query)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    expect(page.get_by_role("slider")).to_be_in_viewport()
    if query != "/":
        page.get_by_role("button", name="Why result 1", exact=True).tap()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_page_is_dark_where_the_user_likes_it_dark(visit: Visit) -> None:
    def brightness() -> float:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3

    page = visit.open("/?tag=circle")
    assert brightness() > 200
    page.emulate_media(color_scheme="dark")
    assert brightness() < 60


def test_moving_cards_glide_unless_the_user_wants_stillness(moving_visit: Visit) -> None:
    page = moving_visit.open(f"/?image={RED_CIRCLE}&tag=star&v=0")
    turn_dial(page, 1)
    page.wait_for_function("() => document.getAnimations().length > 0")
    page.emulate_media(reduced_motion="reduce")
    turn_dial(page, 0)
    moving_visit.settle()
    assert page.evaluate("document.getAnimations().length") == 0
