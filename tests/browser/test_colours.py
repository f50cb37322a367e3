"""Light and dark: what is written can be read on what is behind it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_jobs_page import IN_A_HUNDRED_YEARS, answer, job
from tests.browser.visit import Visit

pytestmark = pytest.mark.browser

LEAST_CONTRAST = 4.5
"""For text of ordinary size (WCAG 2.2, 1.4.3)."""
SCHEMES = ("light", "dark")
# [text, contrast] of every visible element that a selector finds, in JavaScript. A canvas knows every
# notation of colours; what is behind is the nearest ground that is not see-through.
CONTRASTS = """(selector) => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const behind = (node) => {
    const ground = rgba(getComputedStyle(node).backgroundColor);
    return ground[3] === 255 ? ground : behind(node.parentElement);
  };
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll(selector)]
    .filter((node) => node.checkVisibility() && node.textContent.trim() && !node.disabled)
    .map((node) => {
      const [ink, ground] = [light(rgba(getComputedStyle(node).color)), light(behind(node))];
      return [node.textContent, (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)];
    });
}"""


def hard_to_read(page: Page, *selectors: str) -> list[str]:
    """What of the texts stands out too little; there is at least one text for each selector."""
    faint = []
    for selector in selectors:
        # A part of the page that an answer fills may still be empty.
        written = page.locator(selector).filter(has_text=re.compile(r"\S")).filter(visible=True)
        expect(written.first).to_be_visible()
        measured = page.evaluate(CONTRASTS, selector)
        assert measured, selector
        faint += [f"{selector}: {text} ({ratio:.1f})" for text, ratio in measured if ratio < LEAST_CONTRAST]
    return faint


def ground_brightness(page: Page) -> float:
    """Of the page's ground, 0 to 255."""
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"
    )
    return float(red + green + blue) / 3


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_page_of_jobs_can_be_read(visit: Visit, scheme: str) -> None:
    visit.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of SCHEMES
    error = {"type": "x", "detail": "The server stopped while the job ran."}
    result = {"index_version": "000013-0badcafe", "counts": {"images": 7}}
    answer(
        visit.page,
        [
            job(id="000016-0badcafe"),
            job("succeeded", id="000015-0badcafe", kind="train", result=result, ended=IN_A_HUNDRED_YEARS),
            job("failed", id="000014-0badcafe", interrupted=True, error=error),
            job("canceled", id="000013-0badcafe"),
        ],
    )
    visit.page.route("**/v1/jobs/*/events", lambda route: route.abort())
    visit.page.goto(visit.url + "/jobs")
    page = visit.page
    expect(page.locator(".job")).to_have_count(4)
    expect(page.locator("#hint")).not_to_be_empty()
    assert (ground_brightness(page) < 60) == (scheme == "dark")
    assert not hard_to_read(
        page,
        "h1",
        ".quiet",
        "#hint",
        ".job h3",
        ".job-state",
        ".job-phase",
        ".job-words",
        ".job-when",
        ".tool",
        ".foot p",
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_graph_can_be_read(visit: Visit, scheme: str) -> None:
    visit.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of SCHEMES
    page = visit.open("/?tag=circle&not=red&view=graph")
    expect(page.locator(".node.own button").first).to_be_visible()
    assert (ground_brightness(page) < 60) == (scheme == "dark")
    assert not hard_to_read(
        page,
        ".node.tag button",
        ".node.against button",
        ".rank",
        ".core-name",
        ".graph-note",
        ".views button",
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_results_can_be_read(visit: Visit, scheme: str) -> None:
    visit.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of SCHEMES
    page = visit.open("/?tag=circle&not=red&also=large-red-circle-0&unlike=small-blue-star-0")
    assert not hard_to_read(
        page,
        ".picture-sign",
        ".chip-name",
        ".card-tags",
        ".score",
        ".why-button",
        "#status",
        ".share",
        ".end small",
        ".foot p",
    )
