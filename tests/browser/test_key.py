"""The page before a server that asks for a key."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from app.keys import create_key
from graph_store.data_dir import DataDir
from tests.browser.conftest import serving
from tests.browser.visit import Visit
from tests.copies import copy_of

pytestmark = pytest.mark.browser

# As Chromium does where all data of sites are blocked, in JavaScript.
SHUT_STORAGE = """Object.defineProperty(window, 'sessionStorage', {
  get() { throw new DOMException('Access is denied for this document.', 'SecurityError'); },
})"""


@pytest.fixture(scope="module")
def locked(built_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a server that asks for a key, and a key that may read."""
    folder = tmp_path_factory.mktemp("locked")
    data_dir = DataDir(folder / "data")
    copy_of(built_data_dir.root, data_dir.root)
    key = create_key(data_dir, "page", "read")
    with serving(data_dir, folder / "log.txt") as url:
        yield url, key


@pytest.fixture
def locked_visit(browser: Browser, locked: tuple[str, str]) -> Iterator[Visit]:
    """A window on that server; refusals are part of it."""
    context = browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(15_000)
    visit = Visit(context.new_page(), locked[0])
    visit.expected_statuses = {401, 403}
    yield visit
    context.close()
    assert visit.complaints == []


@pytest.fixture
def key(locked: tuple[str, str]) -> str:
    """The key that may read."""
    return locked[1]


def give(page: Page, key: str) -> None:
    """Types the key into the dialog that asks for it."""
    dialog = page.get_by_role("dialog", name="This server asks for a key")
    dialog.get_by_label("API key").fill(key)
    dialog.get_by_role("button", name="Use the key").click()


def test_a_key_is_asked_for_once_and_then_everything_works_pictures_too(
    locked_visit: Visit, key: str
) -> None:
    page = locked_visit.open("/?tag=circle")
    give(page, key)
    picture = page.locator("#grid .pick img").first
    expect(picture).to_have_attribute("src", re.compile("^blob:"))
    page.wait_for_function("() => document.querySelector('#grid .pick img').naturalWidth > 0")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert key not in page.url
    assert page.evaluate("localStorage.length") == 0
    page.reload()
    expect(page.locator("#grid .pick").first).to_be_visible()  # the tab remembers


def test_a_wrong_key_is_said_to_be_wrong(locked_visit: Visit, key: str) -> None:
    page = locked_visit.open("/?tag=circle")
    give(page, "not-the-key")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("did not accept")
    give(page, key)
    expect(page.locator("#grid .pick").first).to_be_visible()


def test_a_key_that_no_header_can_carry_is_refused_before_it_is_sent(locked_visit: Visit) -> None:
    page = locked_visit.open("/?tag=circle")
    give(page, "two words")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("no spaces")


def test_without_a_key_the_page_says_so_and_asks_again_on_demand(locked_visit: Visit, key: str) -> None:
    page = locked_visit.open("/?tag=circle")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    alert = page.locator("#problem")
    expect(alert).to_contain_text("needs an API key")
    alert.get_by_role("button", name="Give a key").click()
    give(page, key)
    expect(page.locator("#grid .pick").first).to_be_visible()


def test_a_key_can_be_forgotten(locked_visit: Visit, key: str) -> None:
    page = locked_visit.open("/?tag=circle")
    give(page, key)
    expect(page.locator("#grid .pick").first).to_be_visible()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("dialog", name="This server asks for a key")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_the_querys_own_picture_comes_with_the_key(locked_visit: Visit, key: str) -> None:
    page = locked_visit.open("/?image=large-red-circle-0")
    give(page, key)
    page.wait_for_function("() => document.querySelector('#slot img')?.naturalWidth > 0")


def test_whoever_gives_no_other_key_keeps_the_one_at_hand(locked_visit: Visit, key: str) -> None:
    page = locked_visit.open("/jobs")
    give(page, key)
    page.get_by_role("button", name="Reindex", exact=True).click()
    page.get_by_role("button", name="Use another key").click()
    expect(page.get_by_role("dialog", name="This server asks for a key")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Forget the key")).to_be_visible()
    assert key in page.evaluate("Object.values(sessionStorage)")


def test_a_key_that_may_only_read_starts_no_job_and_leads_to_another(locked_visit: Visit, key: str) -> None:
    page = locked_visit.open("/jobs")
    give(page, key)
    page.get_by_role("button", name="Reindex", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("may not write")
    page.get_by_role("button", name="Use another key").click()
    expect(page.get_by_role("dialog", name="This server asks for a key")).to_be_visible()


@pytest.mark.parametrize(("address", "shown"), [("/", "#start h1"), ("/jobs", "#none")])
def test_where_the_browser_keeps_nothing_the_page_still_works(visit: Visit, address: str, shown: str) -> None:
    visit.page.add_init_script(SHUT_STORAGE)
    expect(visit.open(address).locator(shown)).to_be_visible()


def test_where_the_browser_keeps_nothing_a_key_is_good_for_the_page(locked_visit: Visit, key: str) -> None:
    locked_visit.page.add_init_script(SHUT_STORAGE)
    page = locked_visit.open("/?tag=circle")
    give(page, key)
    expect(page.locator("#grid .pick").first).to_be_visible()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("dialog", name="This server asks for a key")).to_be_visible()
