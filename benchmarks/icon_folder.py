"""Nine thousand icons, tagged by the words of their names: a long tail of tags that hardly go together.

    python -m benchmarks.icon_folder OUT

The icons are those that the package mkdocs-material carries (Material Design Icons, Font Awesome Free and
Octicons; fetched into OUT/package), without company signs. OUT/tags.jsonl names them with the tags that three
or more of them have; `imsage ingest OUT/tags.jsonl --data D` makes the data directory of
`benchmarks.robustness --icons D`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.demo.source import render

PACKAGE = "mkdocs-material==9.5.49"
SIDE = 224
FEWEST_ICONS = 3
_SIGNS = ("simple", "brands")
"""Folders of companies' signs, which are named and not described."""
_SMALL = "-16"
"""Octicons are drawn in two sizes."""


def fetch(folder: Path) -> Path:
    """The icons' folder of the package, which is installed below `folder` alone."""
    target = folder / "package"
    icons = target / "material" / "templates" / ".icons"
    if not icons.exists():
        uv = Path(sys.executable).parent / "uv"
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--no-deps", "--target", target, PACKAGE], check=True
        )
    return icons


def icons_in(icons: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """(file, id, words of its name) of each icon, in the order of their paths."""
    for file in sorted(icons.rglob("*.svg")):
        folders = file.relative_to(icons).parts[:-1]
        if not folders or any(sign in folders for sign in _SIGNS) or file.stem.endswith(_SMALL):
            continue
        words = sorted({word for word in file.stem.split("-") if len(word) > 1 and not word.isdigit()})
        if words:
            yield file, f"{folders[0]}-{file.stem}", words


def write_icons(icons: Path, out: Path) -> Path:
    """Render them into `out`/pictures and return `out`/tags.jsonl, which is written last: where it is there,
    nothing is done.
    """
    listing = out / "tags.jsonl"
    if listing.exists():
        return listing
    found = {name: (file, words) for file, name, words in icons_in(icons)}
    counts = Counter(word for _, words in found.values() for word in words)
    pictures = out / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)

    def line(name: str) -> str:
        file, words = found[name]
        (pictures / f"{name}.png").write_bytes(render(file, SIDE))
        tags = [word for word in words if counts[word] >= FEWEST_ICONS]
        return json.dumps({"image": f"pictures/{name}.png", "tags": tags}) + "\n"

    with ThreadPoolExecutor() as pool:
        listing.write_text("".join(pool.map(line, found)), encoding="utf-8")
    return listing


def main() -> None:
    """Fetch, render, and say where the list is."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("out", type=Path)
    out = asked.parse_args().out
    print(write_icons(fetch(out), out))


if __name__ == "__main__":
    main()
