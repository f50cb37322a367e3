"""Files and text that reach the page from outside: dropped on it, or pasted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page


def hand_over(page: Page, event: str, file: Path, *, text: str | None = None, on: str = "body") -> bool:
    """Drops or pastes a file, as the browser would, with the text that some programs copy along; whether the
    page took it for itself.
    """
    taken: bool = page.evaluate(
        """([event, name, bytes, text, on]) => {
          const carried = new DataTransfer();
          if (text !== null) carried.setData('text/plain', text);
          carried.items.add(new File([new Uint8Array(bytes)], name, {type: 'image/png'}));
          const made = event === 'paste'
            ? new ClipboardEvent('paste', {clipboardData: carried, bubbles: true, cancelable: true})
            : new DragEvent(event, {dataTransfer: carried, bubbles: true, cancelable: true});
          return !document.querySelector(on).dispatchEvent(made);
        }""",
        [event, file.name, list(file.read_bytes()), text, on],
    )
    return taken


def noise(file: Path, width: int = 500, height: int = 500) -> Path:
    """A picture that the page makes smaller before it sends it; the file is written."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file
