"""Words of an attacker in every place that the page shows, and files that are picture and page at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.hostile import HOSTILE_MARKUP, HOSTILE_TAG
from tests.browser.visit import Visit
from tests.shapes import all_shapes, draw

pytestmark = pytest.mark.browser

RED_CIRCLE = "large-red-circle-0"
# What the page's own code goes by, in JavaScript or in the next request; all else is for people.
KEPT = {"state", "kind", "attach", "next_cursor", "phase", "type"}
JOB = {
    "id": "000012-5f0a9c3e",
    "kind": "reindex",
    "state": "failed",
    "parameters": {"full": False, "preset": "default"},
    "progress": {"phase": "embed", "done": 1, "total": 2, "skipped": 0, "failed": 0, "seconds_left": None},
    "created": "2026-01-31T09:15:02.113+00:00",
    "started": "2026-01-31T09:15:02.870+00:00",
    "ended": "2026-01-31T09:17:12.870+00:00",
    "trigger": "request",
    "cancel_requested": False,
    "interrupted": True,
    "resumable": True,
    "resumed_from": None,
    "error": {"type": "urn:imsage:problem:interrupted", "detail": "It stopped."},
    "result": None,
}


def poisoned(value: Any) -> Any:
    """The same answer with markup in each of its words."""
    if isinstance(value, dict):
        return {key: each if key in KEPT else poisoned(each) for key, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each) for each in value]
    return f"{value}{HOSTILE_MARKUP}{HOSTILE_TAG}" if isinstance(value, str) else value


def poison(page: Page) -> None:
    """Every answer in JSON gets markup into all of its words."""

    def answer(route: Route) -> None:
        response = route.fetch()
        if "json" not in response.headers.get("content-type", ""):
            route.fulfill(response=response)
            return
        route.fulfill(response=response, body=json.dumps(poisoned(response.json())))

    page.route("**/v1/**", answer)


def nothing_ran(page: Page) -> None:
    assert page.evaluate("window.pwned") is None
    assert page.locator("main script, main [onerror], main [onload], main svg [onload]").count() == 0


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/?tag=circle",
        f"/?image={RED_CIRCLE}",
        f"/?image={RED_CIRCLE}&view=graph",
        "/?tag=red&view=graph",
    ],
)
def test_markup_in_any_answer_is_shown_as_text(visit: Visit, address: str) -> None:
    visit.expected_statuses = {404}  # ids that carry markup have no thumbnails
    poison(visit.page)
    page = visit.open(address)
    expect(page.locator("body")).to_contain_text("window.pwned=1")
    if address == "/?tag=circle":
        page.get_by_role("button", name="Why result 1", exact=True).click()
        expect(page.get_by_role("dialog")).to_contain_text("window.pwned=1")
    nothing_ran(page)


def test_markup_in_any_word_of_a_job_is_shown_as_text(visit: Visit) -> None:
    listed = {"jobs": [poisoned(JOB), {**poisoned(JOB), "id": "2", "kind": HOSTILE_TAG}], "next_cursor": None}
    visit.page.route("**/v1/jobs?*", lambda route: route.fulfill(json=listed))
    page = visit.open("/jobs")
    expect(page.locator(".job")).to_have_count(2)
    expect(page.locator("body")).to_contain_text("window.pwned=1")
    nothing_ran(page)


@pytest.mark.parametrize("address", ["/?tag=circle", "/jobs"])
def test_markup_in_a_problem_is_shown_as_text(visit: Visit, address: str) -> None:
    visit.expected_statuses = {422}
    told = {
        "type": HOSTILE_MARKUP,
        "title": HOSTILE_TAG,
        "status": 422,
        "detail": HOSTILE_MARKUP,
        "instance": HOSTILE_MARKUP,
        "errors": [{"pointer": HOSTILE_MARKUP, "detail": HOSTILE_TAG}],
    }
    for calls in ("**/v1/search", "**/v1/jobs?*"):
        visit.page.route(
            calls,
            lambda route: route.fulfill(
                status=422, body=json.dumps(told), content_type="application/problem+json"
            ),
        )
    page = visit.open(address)
    expect(page.get_by_role("alert")).to_contain_text(HOSTILE_MARKUP)
    nothing_ran(page)


def test_the_name_of_a_dropped_file_is_text(visit: Visit) -> None:
    import io

    buffer = io.BytesIO()
    draw(all_shapes()[0]).save(buffer, "PNG")
    page = visit.open()
    page.set_input_files(
        "#file",
        files=[{"name": f"{HOSTILE_MARKUP}.png", "mimeType": "image/png", "buffer": buffer.getvalue()}],
    )
    expect(page.locator("#slot img")).to_have_attribute("alt", f"Your picture {HOSTILE_MARKUP}.png")
    visit.settle()
    nothing_ran(page)


def test_a_catalogue_with_markup_in_captions_and_attributes_is_safe_to_look_at(hostile_visit: Visit) -> None:
    page = hostile_visit.open("/?tag=circle")
    expect(page.locator("#grid .card").first).to_be_visible()
    page.get_by_role("button", name="Why result 1", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    nothing_ran(page)


def test_a_file_that_is_a_picture_and_a_page_is_opened_as_a_picture(hostile_visit: Visit) -> None:
    shape = all_shapes()[1]
    page = hostile_visit.page
    answer = page.goto(f"{hostile_visit.url}/v1/images/{shape.id}/file")
    assert answer is not None and answer.body().endswith(HOSTILE_TAG.encode())
    assert answer.headers["content-type"] == "image/png"
    assert page.evaluate("window.pwned") is None
    assert page.locator("body > img").count() == 1
    described = page.goto(f"{hostile_visit.url}/v1/images/{shape.id}")
    assert described is not None and HOSTILE_MARKUP in described.json()["caption"]
    assert page.evaluate("window.pwned") is None
    # The policy of data stops also what the browser and this test bring: styles around a picture, a listener.
    hostile_visit.complaints.clear()


def test_the_policy_would_stop_a_script_that_got_into_the_page(hostile_visit: Visit) -> None:
    """Were markup ever parsed after all: no inline script, no handler, and no picture runs as a script."""
    page = hostile_visit.open()
    page.evaluate(
        """async ([tag, markup, file]) => {
          const place = document.createElement("div");
          document.body.append(place);
          place.innerHTML = markup;
          const inline = document.createElement("script");
          inline.textContent = "window.pwned=1";
          const polyglot = document.createElement("script");
          polyglot.src = file;
          const ended = new Promise((done) => { polyglot.onerror = polyglot.onload = done; });
          place.append(inline, polyglot);
          await ended;
        }""",
        [HOSTILE_TAG, HOSTILE_MARKUP, f"/v1/images/{all_shapes()[1].id}/file"],
    )
    assert page.evaluate("window.pwned") is None
    assert any(complaint.startswith("console: policy: script-src") for complaint in hostile_visit.complaints)
    hostile_visit.complaints.clear()
    hostile_visit.expected_statuses = {404, 405}
