from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from PIL import Image

from tests.shapes import all_shapes, untagged_ids


def test_the_drawn_catalogue_has_120_readable_pictures_some_held_out(shapes_source: Path) -> None:
    rows = [json.loads(line) for line in shapes_source.read_text().splitlines()]

    assert len(rows) == len({row["id"] for row in rows}) == 120
    assert 15 <= Counter(row["split"] for row in rows)["test"] <= 30
    for row in rows:
        with Image.open(shapes_source.parent / row["image"]) as image:
            assert image.size == (96, 96)


def test_only_the_three_named_pictures_carry_no_tags(shapes_source: Path) -> None:
    rows = [json.loads(line) for line in shapes_source.read_text().splitlines()]

    assert [row["id"] for row in rows if not row["tags"]] == untagged_ids(all_shapes())
