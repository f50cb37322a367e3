"""Takes the README's picture of the web page, from the demo's own drawings.

    python -m docs.screenshots [--data demo-data] [--out docs/images]

The data directory is one that `imsage demo` has built. Only the demo's drawings may be shown: no photo of
a data set is committed. Needs the package `playwright` and a Chromium of the system.
"""

from __future__ import annotations

import argparse
import io
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
START_SECONDS = 120
MOST_BYTES = 400_000
WINDOW = {"width": 1280, "height": 860}

# A picture and a word that pull in different directions, so that the bars of the results differ.
QUESTION = "/?image=red-apple&tag=fruit&not=vegetable&v=0.9"


@contextmanager
def serving(data: Path) -> Iterator[str]:
    """`imsage serve` on the data directory; yields its address once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app", "serve", "--data", str(data), "--port", str(port)]
    with subprocess.Popen(command) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + START_SECONDS
            while not _is_ready(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit("The server did not start.")
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def take(address: str, target: Path) -> None:
    """The page at `address` as a PNG file of at most MOST_BYTES."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        page = chromium.new_page(viewport=WINDOW, color_scheme="light", reduced_motion="reduce")
        page.goto(address)
        page.wait_for_load_state("networkidle")
        page.wait_for_selector("#results[aria-busy='false'] .card")
        shot = page.screenshot()
        chromium.close()
    with Image.open(io.BytesIO(shot)) as image:
        image.convert("RGB").save(target, optimize=True)
    if target.stat().st_size > MOST_BYTES:
        sys.exit(f"{target} has {target.stat().st_size} bytes; at most {MOST_BYTES} are wanted.")


def main() -> None:
    """Reads the command line and takes the picture."""
    parser = argparse.ArgumentParser(description="Take the README's picture of the web page.")
    parser.add_argument("--data", type=Path, default=Path("demo-data"), help="what `imsage demo` has built")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="where page.png is written")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with serving(options.data) as url:
        take(url + QUESTION, options.out / "page.png")
    print(options.out / "page.png")


if __name__ == "__main__":
    main()
