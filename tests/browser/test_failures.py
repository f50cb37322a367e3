"""What the page shows when something is slow, away or wrong."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser.losing import losing_the_first
from tests.browser.test_page import turn_dial
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

FIRST_PAUSE_MS = 2000
"""Before the page tries again by itself: see problem.js."""
# The next search is answered by the beginning of an answer, in JavaScript.
BREAK_OFF = """() => {
  const ask = window.fetch;
  window.fetch = async (path, options) => {
    if (path !== '/v1/search') return ask(path, options);
    window.fetch = ask;
    let sent = false;
    return new Response(new ReadableStream({
      pull(stream) {
        if (sent) stream.error(new TypeError('network error'));
        else stream.enqueue(new TextEncoder().encode('{"hits": ['));
        sent = true;
      },
    }));
  };
}"""


def test_a_problem_shows_the_servers_own_words(visit: Visit) -> None:
    visit.expected_statuses = {404}
    page = visit.open("/?image=no-such-picture")
    alert = page.get_by_role("alert")
    expect(alert).to_be_visible()
    expect(alert).to_contain_text("no-such-picture")
    expect(alert.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.locator("#grid .card")).to_have_count(0)
    page.get_by_role("button", name="Remove the picture").click()
    expect(alert).to_be_hidden()


def test_a_file_that_is_no_picture_is_refused_in_plain_words(visit: Visit, tmp_path: Path) -> None:
    visit.expected_statuses = {422}
    file = tmp_path / "notes.png"
    file.write_text("these are notes, not pixels")
    page = visit.open()
    with page.expect_response("**/v1/search/upload") as answered:
        page.set_input_files("#file", file)
    expect(page.get_by_role("alert")).to_contain_text(answered.value.json()["detail"])


def test_offline_is_said_and_the_question_is_asked_again_when_the_network_is_back(visit: Visit) -> None:
    page = visit.open("/?tag=circle&tag=red")
    page.context.set_offline(True)
    expect(page.locator("#offline")).to_be_visible()
    page.get_by_role("button", name="Remove red").click()
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    expect(page.locator("#grid .card").first).to_be_visible()  # what is there may still be looked at
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.locator("#offline")).to_be_hidden()
    visit.settle()
    assert visit.last_search()["tags"] == [{"name": "circle", "weight": 1}]


def test_a_busy_server_is_asked_again_after_the_pause_that_it_names(visit: Visit) -> None:
    visit.expected_statuses = {503}
    refused: list[str] = []

    def busy_once(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        body = '{"type": "x", "title": "Busy", "status": 503, "detail": "Too many at once."}'
        route.fulfill(
            status=503, body=body, content_type="application/problem+json", headers={"Retry-After": "1"}
        )

    visit.page.clock.install()
    visit.page.route("**/v1/search", busy_once)
    page = visit.open("/?tag=circle")
    page.clock.fast_forward(1000)
    expect(page.locator("#grid .card").first).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()
    assert refused


def test_grey_tiles_stand_in_until_the_first_answer(visit: Visit) -> None:
    held: list[Route] = []
    visit.page.route("**/v1/search", lambda route: held.append(route))
    visit.page.goto(visit.url + "/?tag=circle")
    expect(visit.page.locator("#grid .card.waiting").first).to_be_visible()
    held[0].continue_()
    expect(visit.page.locator("#grid .card .pick").first).to_be_visible()
    expect(visit.page.locator("#grid .card.waiting")).to_have_count(0)


def test_an_answer_that_comes_too_late_is_dropped(visit: Visit) -> None:
    held: list[Route] = []
    visit.page.route("**/v1/search", lambda route: held.append(route) if not held else route.continue_())
    page = visit.page
    page.goto(visit.url + "/?tag=star")
    page.wait_for_function("() => document.querySelector('#results').getAttribute('aria-busy') === 'true'")
    page.evaluate("history.pushState({}, '', '/?tag=triangle'); dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.locator("#status")).to_contain_text("for triangle")
    held[0].abort()
    visit.settle()
    expect(page.locator("#status")).to_contain_text("for triangle")


def test_a_new_index_between_two_pages_starts_the_list_again(visit: Visit) -> None:
    visit.expected_statuses = {410}

    def gone(route: Route) -> None:
        if '"cursor"' in (route.request.post_data or ""):
            body = '{"type": "x", "title": "Gone", "status": 410, "detail": "The snapshot is gone."}'
            route.fulfill(status=410, body=body, content_type="application/problem+json")
        else:
            route.continue_()

    visit.page.route("**/v1/search", gone)
    page = visit.open("/?tag=circle")
    page.get_by_role("button", name="Show more").click()
    page.wait_for_function("() => document.querySelectorAll('#grid .card').length > 48")
    assert visit.last_search()["limit"] == 96
    expect(page.get_by_role("alert")).to_be_hidden()


def test_show_more_waits_while_another_answer_is_on_its_way(visit: Visit) -> None:
    page = visit.open("/?tag=circle&v=0.2")
    held: list[Route] = []
    page.route("**/v1/search", lambda route: held.append(route) if not held else route.continue_())
    page.locator("#dial").evaluate("dial => { dial.value = 0.8; dial.dispatchEvent(new Event('input')); }")
    page.wait_for_function("() => document.querySelector('#results').getAttribute('aria-busy') === 'true'")
    page.get_by_role("button", name="Show more").click()
    held[0].continue_()
    visit.settle()
    assert "cursor" not in visit.last_search()
    assert visit.last_search()["visual_weight"] == 0.8
    page.get_by_role("button", name="Show more").click()
    page.wait_for_function("() => document.querySelectorAll('#grid .card').length > 48")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_question_that_failed_is_not_asked_again_once_there_is_another(visit: Visit) -> None:
    visit.expected_statuses = {503}
    asked: list[str] = []

    def busy_with_stars(route: Route) -> None:
        body = route.request.post_data or ""
        asked.append("star" if '"star"' in body else "triangle")
        if asked[-1] == "star":
            answer = '{"type": "x", "title": "Busy", "status": 503, "detail": "Too many at once."}'
            headers = {"Retry-After": "1"}
            route.fulfill(status=503, body=answer, content_type="application/problem+json", headers=headers)
        else:
            held.append(route)

    held: list[Route] = []
    page = visit.page
    page.route("**/v1/search", busy_with_stars)
    page.goto(visit.url + "/?tag=star")
    expect(page.get_by_role("alert")).to_contain_text("tries again by itself")
    page.evaluate("history.pushState({}, '', '/?tag=triangle'); dispatchEvent(new PopStateEvent('popstate'))")
    page.wait_for_timeout(1500)
    assert asked.count("triangle") == 1 and asked[-1] == "triangle"
    held[0].continue_()
    expect(page.locator("#status")).to_contain_text("for triangle")


def test_a_refused_place_of_the_dial_is_not_asked_again_over_a_newer_one(visit: Visit) -> None:
    visit.expected_statuses = {503}
    held: list[Route] = []

    def wait_for(count: int) -> Route:
        while len(held) < count:
            page.wait_for_timeout(20)
        return held[-1]

    visit.page.clock.install()
    page = visit.open("/?tag=circle")
    page.route("**/v1/search", lambda route: held.append(route) if len(held) < 2 else route.continue_())
    turn_dial(page, 0.6)
    refused = wait_for(1)
    turn_dial(page, 0.9)  # waits for the answer to the one before
    body = '{"type": "x", "title": "Busy", "status": 503, "detail": "Too many at once."}'
    again = {"Retry-After": "1"}
    refused.fulfill(status=503, body=body, content_type="application/problem+json", headers=again)
    newest = wait_for(2)
    page.clock.fast_forward(1000)
    newest.continue_()
    visit.settle()
    assert visit.last_search()["visual_weight"] == 0.9
    expect(page.get_by_role("alert")).to_be_hidden()


def test_show_more_is_not_offered_while_another_question_waits_for_the_server(visit: Visit) -> None:
    visit.page.clock.install()
    page = visit.open("/?tag=circle&tag=red")
    more = page.get_by_role("button", name="Show more")
    expect(more).to_be_visible()
    page.route("**/v1/search", lambda route: route.abort())
    page.get_by_role("button", name="Remove red").click()
    expect(page.get_by_role("alert")).to_contain_text("tries again by itself")
    expect(page.locator("#grid .card").first).to_be_visible()
    expect(more).to_be_hidden()
    page.unroute("**/v1/search")
    page.clock.fast_forward(FIRST_PAUSE_MS)
    expect(page.locator("#status")).to_contain_text(re.compile(r"for circle ·"))
    expect(more).to_be_visible()


def test_why_asks_about_the_question_that_the_results_answer(visit: Visit) -> None:
    page = visit.open("/?tag=circle&tag=red")
    asked: list[list[str]] = []

    def answer_only_why(route: Route) -> None:
        body = route.request.post_data_json
        if body.get("explain"):
            asked.append([tag["name"] for tag in body["tags"]])
            route.continue_()
        else:
            route.abort()

    page.route("**/v1/search", answer_only_why)
    page.get_by_role("button", name="Remove red").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="Why result 1", exact=True).click()
    expect(page.get_by_role("dialog").locator(".spoke li").first).to_be_visible()
    assert asked == [["circle", "red"]]


@pytest.mark.parametrize("status", [502, 504])
def test_a_proxy_that_reaches_no_server_is_asked_again(visit: Visit, status: int) -> None:
    visit.expected_statuses = {status}
    refused: list[str] = []

    def away_once(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=status, body="<h1>No server</h1>", content_type="text/html")

    visit.page.clock.install()
    visit.page.route("**/v1/search", away_once)
    page = visit.open("/?tag=circle")
    page.clock.fast_forward(FIRST_PAUSE_MS)
    expect(page.locator("#grid .card").first).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()
    assert refused


def test_an_answer_that_breaks_off_is_asked_for_again(visit: Visit) -> None:
    visit.page.clock.install()
    page = visit.open("/?tag=circle&tag=red")
    page.evaluate(BREAK_OFF)
    page.get_by_role("button", name="Remove red").click()
    expect(page.get_by_role("alert")).to_contain_text("tries again by itself")
    page.clock.fast_forward(FIRST_PAUSE_MS)
    expect(page.locator("#status")).to_contain_text(re.compile(r"for circle ·"))
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_first_view_is_tried_again_in_longer_and_longer_pauses_and_the_problem_stands_still(
    visit: Visit,
) -> None:
    tries: list[float] = []

    def away(route: Route) -> None:
        tries.append(time.monotonic())
        route.abort()

    page = visit.page
    page.route("**/v1/tags?*", away)
    page.goto(visit.url + "/")
    again = page.get_by_role("alert").get_by_role("button", name="Try again")
    again.focus()
    while len(tries) < 3:
        page.wait_for_timeout(100)
        expect(again).to_be_focused()
    assert tries[2] - tries[1] > 1.5 * (tries[1] - tries[0])
    page.unroute("**/v1/tags?*")
    again.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_dial_of_the_first_view_hides_no_problem(visit: Visit) -> None:
    page = visit.open()
    page.set_input_files("#file", files=[{"name": "empty.png", "mimeType": "image/png", "buffer": b""}])
    expect(page.get_by_role("alert")).to_contain_text("empty.png is empty")
    turn_dial(page, 0.9)
    page.wait_for_url("**v=0.9")
    expect(page.get_by_role("alert")).to_contain_text("empty.png is empty")


@pytest.mark.parametrize("address", ["/", "/?tag=circle"])
def test_what_the_server_holds_is_asked_for_again_once_it_answers(visit: Visit, address: str) -> None:
    tries: list[str] = []

    visit.page.route("**/v1/index", losing_the_first(tries))
    page = visit.open(address)
    expect(page.locator("#version")).to_contain_text("index ")
    assert len(tries) == 2
