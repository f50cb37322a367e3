"""The page in headless Chromium, against the real server on a real small catalogue.

Fixtures end with this folder, not with the session: while Playwright is open its event loop runs in this
thread, and asynchronous tests of other folders could not start theirs.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from graph_store.data_dir import DataDir
from tests.browser.hostile import HOSTILE_ID, HOSTILE_MARKUP, HOSTILE_TAG
from tests.browser.visit import Visit
from tests.conftest import make_once
from tests.shapes import all_shapes, draw, rows

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 90
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


@contextmanager
def serving(data_dir: DataDir, log: Path) -> Iterator[str]:
    """`imsage serve` in a process of its own; yields its address once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app", "serve", "--data", str(data_dir.root), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"the server did not get ready:\n{log.read_text(errors='replace')[-4000:]}")


@pytest.fixture(scope="package")
def server(built_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on the drawn catalogue."""
    with serving(built_data_dir, tmp_path_factory.mktemp("server") / "log.txt") as url:
        yield url


@pytest.fixture(scope="package")
def hostile_server(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server on a catalogue whose tags and one id are written by an attacker."""
    from app.ingest.pipeline import ingest
    from gnn.reindex import reindex
    from gnn.training import train
    from graph_store.progress import SilentProgress

    def make(folder: Path) -> None:
        images = folder / "source" / "images"
        images.mkdir(parents=True)
        shapes = all_shapes()[:40]
        lines = rows(shapes)
        for shape, line in zip(shapes, lines, strict=True):
            draw(shape).save(images / f"{shape.id}.png")
            line["split"] = "train"
            line["tags"] = [*line["tags"], HOSTILE_TAG, *([HOSTILE_MARKUP] if shape.variant else [])]
            line |= {
                "caption": HOSTILE_MARKUP,
                HOSTILE_MARKUP: HOSTILE_TAG,
                "nested": {HOSTILE_TAG: HOSTILE_MARKUP},
            }
            with (images / f"{shape.id}.png").open("ab") as file:
                file.write(b"<html>" + HOSTILE_TAG.encode())
        lines[0]["id"] = HOSTILE_ID
        source = folder / "source" / "tags.jsonl"
        source.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        data_dir = DataDir(folder / "data")
        ingest(source, data_dir, progress=SilentProgress())
        train(data_dir, epochs=1, progress=SilentProgress())
        reindex(data_dir, progress=SilentProgress())

    folder = make_once(shared_dir / "hostile", make)
    with serving(DataDir(folder / "data"), tmp_path_factory.mktemp("hostile-server") / "log.txt") as url:
        yield url


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium. Where it is missing the tests are skipped, but never in continuous integration."""
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "chromium is not on the PATH (on Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield opened
        opened.close()


def _visit(browser: Browser, url: str, **context: object) -> Iterator[Visit]:
    # Without animations what is on the page is where it belongs as soon as it is there.
    opened = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **context})
    opened.set_default_timeout(15_000)
    visit = Visit(opened.new_page(), url)
    yield visit
    if not visit.page.is_closed():
        # An answer that the test has put in its place may still be on its way, which is nobody's fault.
        visit.page.unroute_all(behavior="ignoreErrors")
    opened.close()
    assert visit.complaints == []


@pytest.fixture
def visit(browser: Browser, server: str) -> Iterator[Visit]:
    """A desktop window; the test fails when anything on the page complains."""
    yield from _visit(browser, server)


@pytest.fixture
def moving_visit(browser: Browser, server: str) -> Iterator[Visit]:
    """The same for a user who has not asked for less motion."""
    yield from _visit(browser, server, reduced_motion="no-preference")


@pytest.fixture
def phone_visit(browser: Browser, server: str) -> Iterator[Visit]:
    """A phone, 360 px wide."""
    yield from _visit(browser, server, viewport=PHONE, has_touch=True, is_mobile=True)


@pytest.fixture
def hostile_visit(browser: Browser, hostile_server: str) -> Iterator[Visit]:
    """A desktop window on the hostile catalogue."""
    yield from _visit(browser, hostile_server)


@pytest.fixture(scope="session")
def picture_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large red circle on the user's disk."""
    shape = next(s for s in all_shapes() if s.id == "large-red-circle-0")
    file = tmp_path_factory.mktemp("disk") / "mine.png"
    draw(shape).save(file)
    return file
