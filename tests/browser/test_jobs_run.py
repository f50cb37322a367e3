"""The page of jobs with jobs that really run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from graph_store.data_dir import DataDir
from tests.browser.conftest import serving
from tests.browser.visit import Visit
from tests.copies import copy_of

pytestmark = pytest.mark.browser

PATIENCE_MS = 120_000


@pytest.fixture
def own_visit(browser: Browser, built_data_dir: DataDir, tmp_path: Path) -> Iterator[Visit]:
    """A window on a server with a catalogue of its own, which jobs may change."""
    data_dir = DataDir(tmp_path / "data")
    copy_of(built_data_dir.root, data_dir.root)
    with serving(data_dir, tmp_path / "log.txt") as url:
        context = browser.new_context(reduced_motion="reduce")
        visit = Visit(context.new_page(), url)
        yield visit
        context.close()
        assert visit.complaints == []


def test_reindexing_and_training_can_be_started_followed_and_stopped(own_visit: Visit) -> None:
    page = own_visit.open("/jobs")
    expect(page.get_by_text("No job has run yet.")).to_be_visible()
    page.get_by_role("button", name="Reindex", exact=True).click()
    expect(page.locator(".job[data-state='succeeded']")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".job-words")).to_contain_text("index 0000")
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Cancel Train default").click()
    expect(page.locator(".job[data-state='canceled']")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("button", name="Resume Train default")).to_be_visible()
    expect(page.get_by_role("button", name="Reindex", exact=True)).to_be_enabled()
    page.reload()
    expect(page.locator(".job-state")).to_have_text(["Canceled", "Done"])
