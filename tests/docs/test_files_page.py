"""What the page of files says of the sources is what they do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from app.images import FORMATS
from app.ingest.pipeline import ingest
from graph_store.data_dir import DataDir
from graph_store.errors import EncoderMismatch
from tests.ingest.conftest import drawn, records

PAGE = (Path(__file__).parents[2] / "docs" / "files.md").read_text(encoding="utf-8")


def paragraph(beginning: str) -> str:
    (found,) = [each for each in PAGE.split("\n\n") if each.startswith(beginning)]
    return found


def test_every_picture_format_that_is_read_is_named_and_so_are_those_that_phones_and_drawers_miss() -> None:
    told = paragraph("**Which pictures are read.**")
    named = {
        name.replace(" ", "").upper()
        for name in re.split(r", | and ", told.split(".** ")[1].split(", whatever")[0])
    }
    assert named == set(FORMATS)
    assert "HEIC" in told and "SVG" in told


def test_features_of_another_label_are_refused(tmp_path: Path) -> None:
    assert "`--encoder precomputed:dino`" in PAGE
    np.save(tmp_path / "f.npy", np.eye(2, 4, dtype=np.float32))
    (tmp_path / "f.ids.txt").write_text("one\ntwo\n", encoding="utf-8")
    table = tmp_path / "table.csv"
    table.write_text("id,tags\none,a\n", encoding="utf-8")
    data_dir = DataDir(tmp_path / "data")
    ingest(table, data_dir, features=tmp_path / "f.npy", encoder="precomputed:dino")

    table.write_text("id,tags\none,a\ntwo,b\n", encoding="utf-8")
    with pytest.raises(EncoderMismatch, match="precomputed:dino"):
        ingest(table, data_dir, features=tmp_path / "f.npy", encoder="precomputed:clip")


def test_coco_annotations_give_the_attributes_that_are_named(tmp_path: Path) -> None:
    drawn(0).save(tmp_path / "a.jpg")
    images = [{"id": 7, "file_name": "a.jpg"}]
    objects = [{"id": n, "image_id": 7, "category_id": 1} for n in range(2)]
    captions = [{"id": n, "image_id": 7, "caption": text} for n, text in enumerate(["a dog", "two dogs"])]
    document = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "dog"}]}
    (tmp_path / "instances_x.json").write_text(json.dumps(document), encoding="utf-8")
    (tmp_path / "captions_x.json").write_text(
        json.dumps({"images": images, "annotations": captions}), encoding="utf-8"
    )
    data_dir = DataDir(tmp_path / "data")
    ingest(tmp_path / "instances_x.json", data_dir)

    record = records(data_dir)["a.jpg"]
    assert record.attributes == {"coco_id": 7, "counts": {"dog": 2}, "captions": ["a dog", "two dogs"]}
    assert record.caption == "a dog"
    assert all(f"`{name}`" in paragraph("**COCO annotations.**") for name in record.attributes)
