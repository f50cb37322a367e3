"""Takes the README's pictures of the web page, from the demo's own drawings.

    python -m docs.screenshots [--data demo-data] [--out docs/images]

The data directory is one that `imsage demo` has built. Only the demo's drawings may be shown: no photo of
a data set is committed. Needs the package `playwright` and a Chromium of the system.
"""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from benchmarks.serving import serving

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
MOST_BYTES = 400_000
WINDOW = {"width": 1280, "height": 860}

PHONE = {"width": 360, "height": 740}


@dataclass(frozen=True)
class Shot:
    """One picture: what is asked, in which window, and what shows that it is there."""

    name: str
    address: str
    ready: str
    dark: bool = False
    phone: bool = False


SHOTS = (
    # A picture and a word that pull in different directions, so that the bars of the results differ.
    Shot("page", "/?image=red-apple&tag=fruit&not=vegetable&v=0.9", "#grid .pick"),
    Shot("graph", "/?image=red-apple&tag=fruit&v=0.6&view=graph", ".node.tag"),
    Shot("phone", "/?image=lion&tag=cat&v=0.9", "#grid .pick", dark=True, phone=True),
)


def take(browser: Browser, url: str, shot: Shot, target: Path) -> None:
    """The picture as a PNG file of at most MOST_BYTES."""
    context = browser.new_context(
        viewport=PHONE if shot.phone else WINDOW,  # type: ignore[arg-type]  # a dict where a TypedDict is meant
        color_scheme="dark" if shot.dark else "light",
        reduced_motion="reduce",
        is_mobile=shot.phone,
        has_touch=shot.phone,
    )
    page = context.new_page()
    page.goto(url + shot.address)
    page.wait_for_selector(shot.ready)
    page.wait_for_load_state("networkidle")
    page.wait_for_selector("#results[aria-busy='false']")
    png = page.screenshot()
    context.close()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(target, optimize=True)
    if target.stat().st_size > MOST_BYTES:
        sys.exit(f"{target} has {target.stat().st_size} bytes; at most {MOST_BYTES} are wanted.")


def main() -> None:
    """Reads the command line and takes the pictures."""
    parser = argparse.ArgumentParser(description="Take the README's pictures of the web page.")
    parser.add_argument("--data", type=Path, default=Path("demo-data"), help="what `imsage demo` has built")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="where they are written")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with serving(options.data) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        for shot in SHOTS:
            target = options.out / f"{shot.name}.png"
            take(browser, url, shot, target)
            print(target)
        browser.close()


if __name__ == "__main__":
    main()
