"""The page of jobs: how it shows what a server may answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.browser.hostile import HOSTILE_ID, HOSTILE_MARKUP, HOSTILE_TAG
from tests.browser.losing import losing_the_first
from tests.browser.test_failures import FIRST_PAUSE_MS
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

IN_A_HUNDRED_YEARS = "2126-01-31T09:17:12.870+00:00"


def job(state: str = "processing", **changes: Any) -> dict[str, Any]:
    """A job as the API tells it."""
    progress = {
        "phase": "embed",
        "done": 41_000,
        "total": 100_000,
        "skipped": 2,
        "failed": 0,
        "seconds_left": 132.0,
    }
    return {
        "id": "000012-5f0a9c3e",
        "kind": "reindex",
        "state": state,
        "parameters": {"full": False, "preset": None},
        "progress": progress,
        "created": "2026-01-31T09:15:02.113+00:00",
        "started": "2026-01-31T09:15:02.870+00:00",
        "ended": None if state == "processing" else "2026-01-31T09:17:12.870+00:00",
        "trigger": "request",
        "cancel_requested": False,
        "interrupted": False,
        "resumable": state == "failed",
        "resumed_from": None,
        "error": None,
        "result": None,
        **changes,
    }


def event(number: int, told: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"id: {number}\nevent: job\ndata: {json.dumps(told)}\n\n"


def answer(page: Page, listed: list[dict[str, Any]], streams: Sequence[str] = ()) -> list[Route]:
    """Answers the list of jobs, and each request for events with the next of `streams`."""
    asked: list[Route] = []
    page.route(
        "**/v1/jobs?*", lambda route: route.fulfill(json={"jobs": listed, "next_cursor": None}, status=200)
    )

    def follow(route: Route) -> None:
        asked.append(route)
        route.fulfill(body=streams[len(asked) - 1], content_type="text/event-stream")

    page.route("**/v1/jobs/*/events", follow)
    return asked


def refuse(route: Route, status: int, detail: str, kind: str = "x") -> None:
    """A problem."""
    body = json.dumps({"type": kind, "title": "Refused", "status": status, "detail": detail})
    route.fulfill(status=status, body=body, content_type="application/problem+json")


def test_a_running_job_shows_its_phase_its_share_and_the_time_left(visit: Visit) -> None:
    answer(visit.page, [job()])
    visit.page.route("**/v1/jobs/*/events", lambda route: route.abort())
    page = visit.page
    page.goto(visit.url + "/jobs")
    bar = page.get_by_role("progressbar", name="Reindex: Embedding pictures and tags")
    expect(bar).to_have_attribute("aria-valuenow", "41")
    expect(page.locator(".job")).to_contain_text("41,000 of 100,000 · about 2 min 12 s left · 2 skipped")
    expect(page.get_by_role("button", name="Reindex", exact=True)).to_be_disabled()
    expect(page.get_by_role("button", name="Cancel Reindex")).to_be_enabled()


@pytest.mark.parametrize(
    ("phase", "shown"),
    [("query views", "Asking as searches will"), ("64-bit codes", "Learning codes of 64 bits")],
)
def test_the_phases_of_learning_codes_are_told_in_words(visit: Visit, phase: str, shown: str) -> None:
    progress = {**job()["progress"], "phase": phase}
    answer(visit.page, [job(kind="train", progress=progress)])
    visit.page.route("**/v1/jobs/*/events", lambda route: route.abort())
    visit.page.goto(visit.url + "/jobs")
    expect(visit.page.locator(".job-phase")).to_have_text(shown)


def test_a_broken_stream_goes_on_after_the_last_event(visit: Visit) -> None:
    result = {"index_version": "000013-0badcafe", "counts": {"images": 7}}
    ended = ": still here\n\n" + event(8, job("succeeded", result=result))
    asked = answer(visit.page, [job()], [event(7, job()), ended])
    page = visit.page
    page.goto(visit.url + "/jobs")
    expect(page.locator(".job-state")).to_have_text("Done")
    expect(page.locator(".job-words")).to_have_text("index 000013-0badcafe · 7 pictures")
    assert [route.request.headers.get("last-event-id") for route in asked] == [None, "7"]
    expect(page.get_by_role("status").filter(has_text="Reindex: Done")).to_have_count(1)
    expect(page.get_by_role("button", name="Reindex", exact=True)).to_be_enabled()


def test_an_interrupted_job_says_why_and_offers_to_go_on(visit: Visit) -> None:
    error = {"type": "urn:imsage:problem:interrupted", "detail": "The server stopped while the job ran."}
    answer(visit.page, [job("failed", interrupted=True, error=error)])
    page = visit.open("/jobs")
    expect(page.locator(".job-state")).to_have_text("Interrupted")
    expect(page.locator(".job")).to_contain_text(error["detail"])
    expect(page.get_by_role("button", name="Resume Reindex")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_be_hidden()


def test_a_click_that_got_no_answer_is_tried_again_as_the_same_order(visit: Visit) -> None:
    answer(visit.page, [], [event(1, job("succeeded"))])
    keys: list[str] = []

    def lose_the_first(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.abort()
        else:
            route.fulfill(json=job("succeeded"), status=202)

    visit.page.clock.install()
    visit.page.route("**/v1/jobs", lose_the_first)
    page = visit.open("/jobs")
    expect(page.locator("#none")).to_be_visible()
    page.get_by_role("button", name="Reindex", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("does not answer")
    page.clock.fast_forward(FIRST_PAUSE_MS)
    expect(page.locator(".job")).to_have_count(1)  # tried again by itself
    expect(page.get_by_role("alert")).to_be_hidden()
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_an_order_that_comes_second_says_why_and_shows_what_runs(visit: Visit) -> None:
    visit.expected_statuses = {409}
    running: list[dict[str, Any]] = []
    answer(visit.page, running)
    visit.page.route("**/v1/jobs/*/events", lambda route: route.abort())

    def come_second(route: Route) -> None:
        running.append(job())
        refuse(route, 409, "The job 000012-5f0a9c3e is running.")

    visit.page.route("**/v1/jobs", come_second)
    page = visit.open("/jobs")
    page.get_by_role("button", name="Reindex", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("The job 000012-5f0a9c3e is running.")
    expect(page.get_by_role("progressbar", name="Reindex: Embedding pictures and tags")).to_be_visible()
    expect(page.get_by_role("button", name="Reindex", exact=True)).to_be_disabled()


def test_a_job_is_resumed_as_a_new_one_above_it(visit: Visit) -> None:
    stopped = job("failed", interrupted=True)
    answer(visit.page, [stopped])
    visit.page.route("**/v1/jobs/*/events", lambda route: route.abort())
    asked: list[Request] = []

    def go_on(route: Route) -> None:
        asked.append(route.request)
        route.fulfill(json=job(id="000013-0badcafe", resumed_from=stopped["id"]), status=202)

    visit.page.route("**/v1/jobs/*/resume", go_on)
    page = visit.open("/jobs")
    resume = page.get_by_role("button", name="Resume Reindex")
    resume.click()
    expect(page.locator(".job-state")).to_have_text(["Running", "Interrupted"])
    expect(page.locator(".job-when").first).to_contain_text("resumed")
    expect(resume).to_be_disabled()  # one runs at a time
    assert [(request.method, request.url.split("/")[-2]) for request in asked] == [("POST", stopped["id"])]
    assert asked[0].headers["idempotency-key"]


def test_older_jobs_are_fetched_below_the_newer_ones(visit: Visit) -> None:
    pages = {
        None: {"jobs": [job("succeeded")], "next_cursor": "000012-5f0a9c3e"},
        "000012-5f0a9c3e": {
            "jobs": [job("succeeded", id="000011-0badcafe", kind="train")],
            "next_cursor": None,
        },
    }

    def list_page(route: Route) -> None:
        cursor = parse_qs(urlsplit(route.request.url).query).get("cursor", [None])[0]
        route.fulfill(json=pages[cursor])

    visit.page.route("**/v1/jobs?*", list_page)
    page = visit.open("/jobs")
    older = page.get_by_role("button", name="Show older jobs")
    older.click()
    expect(page.locator(".job h3")).to_have_text(["Reindex", "Train"])
    expect(older).to_be_hidden()


@pytest.mark.parametrize(
    ("newest", "hint"), [("train", "The newest model is not served yet: reindex."), ("reindex", "")]
)
def test_a_model_that_is_not_served_yet_is_hinted_at(visit: Visit, newest: str, hint: str) -> None:
    before = "reindex" if newest == "train" else "train"
    answer(
        visit.page,
        [
            job("failed", id="000014-0badcafe", kind=before),
            job("succeeded", id="000013-0badcafe", kind=newest, ended=IN_A_HUNDRED_YEARS),
            job("succeeded", kind=before),
        ],
    )
    page = visit.open("/jobs")
    expect(page.locator(".job")).to_have_count(3)
    expect(page.locator("#hint")).to_have_text(hint)


@pytest.mark.parametrize(
    ("made", "hint"),
    [
        ("2026-01-31T09:17:11+00:00", "The newest model is not served yet: reindex."),
        ("2026-01-31T09:17:12+00:00", ""),
        ("2026-01-31T10:20:00+01:00", ""),
    ],
)
def test_a_model_that_an_index_made_elsewhere_serves_is_hinted_at_no_more(
    visit: Visit, made: str, hint: str
) -> None:
    told = {"index_version": "000014-0badcafe", "created": made, "counts": {"images": 7, "tags": 2}}
    visit.page.route("**/v1/index", lambda route: route.fulfill(json=told))
    answer(visit.page, [job("succeeded", kind="train")])
    page = visit.open("/jobs")
    expect(page.locator("#serving")).to_have_text("Serving index 000014-0badcafe.")
    expect(page.locator("#hint")).to_have_text(hint)


def test_what_the_server_holds_is_asked_for_again_with_the_jobs(visit: Visit) -> None:
    visit.expected_statuses = {503}
    looks: list[str] = []
    tries: list[str] = []

    def busy_once(route: Route) -> None:
        looks.append(route.request.url)
        if len(looks) == 1:
            body = json.dumps({"type": "x", "title": "Busy", "status": 503, "detail": "Too many at once."})
            again = {"Retry-After": "1"}
            route.fulfill(status=503, body=body, content_type="application/problem+json", headers=again)
        else:
            route.fulfill(json={"jobs": [], "next_cursor": None})

    visit.page.route("**/v1/jobs?*", busy_once)
    visit.page.route("**/v1/index", losing_the_first(tries))
    page = visit.page
    page.goto(visit.url + "/jobs")
    expect(page.locator("#serving")).to_contain_text("Serving index")
    assert len(tries) == 2


@pytest.mark.parametrize("num_old", [2, 5])
def test_the_index_that_a_job_has_made_is_told_once_it_is_served(visit: Visit, num_old: int) -> None:
    old = {"index_version": "000012-0badcafe", "created": "2026-01-31T09:00:00+00:00", "counts": {}}
    new = {"index_version": "000013-0badcafe", "created": "2026-01-31T09:17:12+00:00", "counts": {}}
    answers = iter([old] * num_old)
    ended = job("succeeded", result={"index_version": new["index_version"], "counts": {}})
    listed = [job()]
    held: list[Route] = []
    visit.page.clock.install()
    visit.page.route("**/v1/index", lambda route: route.fulfill(json=next(answers, new)))
    answer(visit.page, listed)
    visit.page.route("**/v1/jobs/*/events", lambda route: held.append(route))
    page = visit.page
    page.goto(visit.url + "/jobs")
    expect(page.locator("#serving")).to_have_text("Serving index 000012-0badcafe.")
    listed[:] = [ended]
    held[0].fulfill(body=event(8, ended), content_type="text/event-stream")
    expect(page.locator(".job-state")).to_have_text("Done")
    page.clock.fast_forward(15_000)
    expect(page.locator("#serving")).to_have_text("Serving index 000013-0badcafe.")


def test_jobs_that_ran_while_nobody_looked_leave_no_hole_in_the_list(visit: Visit) -> None:
    newest = 20

    def list_page(route: Route) -> None:
        cursor = parse_qs(urlsplit(route.request.url).query).get("cursor", [None])[0]
        first = newest if cursor is None else int(cursor) - 1
        numbers = range(first, max(0, first - 20), -1)
        jobs = [job("succeeded", id=str(number), kind=f"kind {number}") for number in numbers]
        route.fulfill(json={"jobs": jobs, "next_cursor": str(numbers[-1]) if numbers[-1] > 1 else None})

    visit.page.clock.install()
    visit.page.route("**/v1/jobs?*", list_page)
    page = visit.open("/jobs")
    expect(page.locator(".job h3").first).to_have_text("kind 20")
    newest = 60
    page.clock.fast_forward(15_000)
    expect(page.locator(".job h3").first).to_have_text("kind 60")
    page.get_by_role("button", name="Show older jobs").click()
    expect(page.locator(".job h3")).to_have_text([f"kind {number}" for number in range(60, 20, -1)])


@pytest.mark.parametrize("name", ["Reindex", "Train"])
def test_the_button_that_started_a_job_keeps_the_focus(visit: Visit, name: str) -> None:
    answer(visit.page, [])
    visit.page.route("**/v1/jobs/*/events", lambda route: route.abort())
    visit.page.route("**/v1/jobs", lambda route: route.fulfill(json=job(), status=202))
    page = visit.open("/jobs")
    button = page.get_by_role("button", name=name, exact=True)
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_be_disabled()
    expect(button).to_be_focused()


def test_a_button_that_is_shown_as_disabled_orders_nothing(visit: Visit) -> None:
    ordered: list[str] = []
    answer(visit.page, [job()])
    visit.page.route("**/v1/jobs/*/events", lambda route: route.abort())
    visit.page.route("**/v1/jobs", lambda route: ordered.append(route.request.url))
    page = visit.page
    page.goto(visit.url + "/jobs")
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("button", name="Reindex", exact=True).dispatch_event("click")
    page.wait_for_timeout(200)
    assert ordered == []


@pytest.mark.parametrize("resumable", [True, False])
def test_a_job_that_ends_under_the_focus_leaves_it_to_what_can_be_done_next(
    visit: Visit, resumable: bool
) -> None:
    held: list[Route] = []
    answer(visit.page, [job()])
    visit.page.route("**/v1/jobs/*/events", lambda route: held.append(route))
    page = visit.page
    page.goto(visit.url + "/jobs")
    page.get_by_role("button", name="Cancel Reindex").focus()
    told = event(8, job("canceled", resumable=resumable))
    held[0].fulfill(body=told, content_type="text/event-stream")
    expect(page.locator(".job-state")).to_have_text("Canceled")
    after = page.get_by_role("button", name="Resume Reindex") if resumable else page.locator("#jobs")
    expect(after).to_be_focused()


def test_a_refusal_that_no_key_would_mend_asks_for_none(visit: Visit) -> None:
    visit.expected_statuses = {403}
    answer(visit.page, [])
    kind = "urn:imsage:problem:read-only-replica"
    visit.page.route("**/v1/jobs", lambda route: refuse(route, 403, "This server is a replica.", kind))
    page = visit.open("/jobs")
    page.get_by_role("button", name="Reindex", exact=True).click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This server is a replica.")
    expect(alert.get_by_role("button", name="Try again")).to_be_visible()
    expect(alert.get_by_role("button", name="key")).to_have_count(0)


def test_a_server_without_jobs_says_what_to_do_instead(visit: Visit) -> None:
    visit.expected_statuses = {404}
    visit.page.route("**/v1/jobs?*", lambda route: refuse(route, 404, "Not found"))
    page = visit.open("/jobs")
    expect(page.get_by_role("alert")).to_contain_text("imsage reindex")
    expect(page.get_by_role("button", name="Reindex", exact=True)).to_be_disabled()


def test_hostile_words_of_a_job_are_shown_as_text(visit: Visit) -> None:
    told = job(
        "failed",
        id=HOSTILE_ID,
        kind=HOSTILE_TAG,
        error={"type": "x", "detail": HOSTILE_MARKUP},
        parameters={"preset": HOSTILE_TAG},
    )
    answer(visit.page, [told])
    page = visit.open("/jobs")
    expect(page.locator(".job-words")).to_have_text(HOSTILE_MARKUP)
    expect(page.locator(".job h3")).to_have_text(HOSTILE_TAG)
    assert page.evaluate("window.pwned") is None


def test_the_page_of_jobs_fits_a_phone(phone_visit: Visit) -> None:
    answer(
        phone_visit.page,
        [job("succeeded", result={"index_version": "000013-" + "0badcafe" * 12}), job("failed", id="2")],
    )
    page = phone_visit.open("/jobs")
    expect(page.locator(".job")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
