"""A shop's catalogue: small pictures of products, each with all of its attributes.

    python -m benchmarks.product_folder OUT [--products 30000]

Each is an icon (:mod:`benchmarks.icon_folder`) in one colour on white, 60 by 80 pixels, of which many are
sold in several colours. Attributes are its kind (the commonest word of the icon's name) and the group of
kinds that it belongs to, its colour, and three that hardly show: season, usage and whom it is for, which are
drawn from frequencies that each kind and each colour has. OUT/tags.jsonl names them all;
`imsage ingest OUT/tags.jsonl --data D` makes the data directory of `benchmarks.robustness --products D`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.icon_folder import fetch, icons_in, write_icons
from graph_store.arrays import Float64Array

PRODUCTS = 30_000
KINDS = 90
SIZE = (60, 80)
COLOURS = {
    "black": (25, 25, 28),
    "white": (236, 236, 232),
    "grey": (130, 132, 135),
    "silver": (188, 192, 198),
    "navy": (28, 38, 84),
    "blue": (52, 92, 190),
    "turquoise": (50, 170, 170),
    "green": (50, 125, 62),
    "olive": (112, 116, 48),
    "yellow": (240, 208, 50),
    "orange": (236, 130, 35),
    "red": (196, 36, 40),
    "maroon": (112, 24, 40),
    "pink": (236, 140, 172),
    "purple": (112, 60, 150),
    "brown": (112, 72, 42),
    "tan": (200, 164, 116),
    "beige": (226, 212, 182),
}
GROUPS = ("apparel", "footwear", "accessories", "home", "sports", "office", "toys")
HIDDEN = {
    "season": ("spring", "summer", "autumn", "winter"),
    "usage": ("casual", "formal", "sport", "travel", "party", "daily"),
    "whom": ("men", "women", "boys", "girls", "unisex"),
}
_NO_KINDS = ("off", "outline")
_SHADE = 14.0
_CONCENTRATION = 0.6


@dataclass(frozen=True, eq=False)
class Frequencies:
    """How often each colour, and each value of the attributes that hardly show, is among the products of a
    kind; of the latter also among those of a colour.
    """

    colours: Float64Array
    by_kind: dict[str, Float64Array]
    by_colour: dict[str, Float64Array]

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Frequencies:
        """One table an attribute, each row from a Dirichlet distribution: a few values take most."""

        def table(rows: int, values: int) -> Float64Array:
            return rng.dirichlet(np.full(values, _CONCENTRATION), rows)

        return cls(
            table(KINDS, len(COLOURS)),
            {name: table(KINDS, len(values)) for name, values in HIDDEN.items()},
            {name: table(len(COLOURS), len(values)) for name, values in HIDDEN.items()},
        )

    def attributes(self, kind: int, colour: int, rng: np.random.Generator) -> list[str]:
        """Of those that hardly show."""
        chosen = []
        for name, values in HIDDEN.items():
            chance = 0.7 * self.by_kind[name][kind] + 0.3 * self.by_colour[name][colour]
            chosen.append(values[int(rng.choice(len(values), p=chance / chance.sum()))])
        return chosen


def write_products(icons: Path, pictures: Path, out: Path, products: int = PRODUCTS, seed: int = 0) -> Path:
    """Paint them into `out`/pictures and return `out`/tags.jsonl. icons: the icons' folder of the package;
    pictures: where they are rendered. The same seed gives the same products.
    """
    rng = np.random.default_rng(seed)
    of_kind = icons_by_kind(icons)
    kinds = list(of_kind)
    frequencies = Frequencies.drawn(rng)
    common = 1.0 / (np.arange(len(kinds)) + 5.0)
    colours = list(COLOURS)
    folder = out / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(products):
        kind = int(rng.choice(len(kinds), p=common / common.sum()))
        colour = int(rng.choice(len(colours), p=frequencies.colours[kind]))
        icon = str(rng.choice(of_kind[kinds[kind]]))
        picture = product(pictures / f"{icon}.png", COLOURS[colours[colour]], rng)
        name = f"pictures/{number:05}.png"
        picture.save(out / name)
        told = [kinds[kind], GROUPS[kind % len(GROUPS)], colours[colour]]
        lines.append(json.dumps({"image": name, "tags": [*told, *frequencies.attributes(kind, colour, rng)]}))
    listing = out / "tags.jsonl"
    listing.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return listing


def product(icon: Path, colour: Sequence[int], rng: np.random.Generator) -> Image.Image:
    """The icon in that colour, a little darker or lighter, turned and smaller or larger, on white."""
    with Image.open(icon) as opened:
        drawn = 255 - np.asarray(opened.convert("L"), dtype=np.uint8)
    mask = Image.fromarray(drawn).rotate(float(rng.uniform(-12, 12)))
    side = int(rng.integers(40, SIZE[0] - 2))
    mask = mask.resize((side, side))
    shade = np.clip(np.asarray(colour) + rng.normal(0, _SHADE), 0, 255).astype(int)
    canvas = Image.new("RGB", SIZE, (252, 252, 252))
    place = int(rng.integers(0, SIZE[0] - side + 1)), int(rng.integers(0, SIZE[1] - side + 1))
    canvas.paste(Image.new("RGB", (side, side), tuple(shade.tolist())), place, mask)
    return canvas


def icons_by_kind(icons: Path) -> dict[str, list[str]]:
    """Kinds, the commonest first, and the icons of each: an icon is of the commonest kind that it names."""
    found = [(name, words) for _, name, words in icons_in(icons)]
    counts = Counter(word for _, words in found for word in words)
    common = [word for word, _ in counts.most_common() if word not in _NO_KINDS][:KINDS]
    of_kind: dict[str, list[str]] = {word: [] for word in common}
    for name, words in found:
        named = [word for word in common if word in words]
        if named:
            of_kind[named[0]].append(name)
    return {word: names for word, names in of_kind.items() if names}


def main() -> None:
    """Fetch, render, paint, and say where the list is."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("out", type=Path)
    asked.add_argument(
        "--icons", type=Path, help="OUT of benchmarks.icon_folder; without it they are made in OUT/icons"
    )
    asked.add_argument("--products", type=int, default=PRODUCTS)
    given = asked.parse_args()
    made = given.icons or given.out / "icons"
    icons = fetch(made)
    write_icons(icons, made)
    print(write_products(icons, made / "pictures", given.out, given.products))


if __name__ == "__main__":
    main()
