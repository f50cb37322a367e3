"""Writes a tiny data directory as the imsage that runs this makes it, to be kept and read by later ones.

    python -m tests.old_data.make tests/old_data/NAME

Before a format changes, run it with the code that still writes the old one, and commit what it wrote. The
catalogue is kept as SQL text (`catalog.sql`), so that a change of it can be reviewed; `answers.json` is what
that imsage answered.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from gnn.encoders.base import EncoderSpec
from gnn.query import Query, QueryEngine, QueryTag
from gnn.reindex import reindex
from gnn.training import train
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.records import ImageRecord, Skip, Tag
from graph_store.snapshot import Snapshot

TAGS = ("dog", "cat", "Straße", "red sofa")
SPEC = EncoderSpec("precomputed", "", 8, "none")
NUM = 24
QUESTIONS: tuple[dict[str, Any], ...] = (
    {"id": "image-3"},
    {"id": "image-4", "visual_weight": 1.0},
    {"tags": ["dog"], "visual_weight": 0.0},
    {"tags": ["cat", "red sofa"]},
)


def catalogue(data_dir: DataDir) -> None:
    """24 pictures of features; four are held out, three carry no tags."""
    rng = np.random.default_rng(0)
    carried = rng.random((NUM, len(TAGS))) < 0.4
    carried[::9] = False
    features = carried @ rng.standard_normal((len(TAGS), SPEC.dim)) + rng.standard_normal((NUM, SPEC.dim))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    data_dir.create()
    FeatureFile.open(data_dir.features_dir, SPEC.slug, SPEC.dim, create=True).write(
        0, features.astype(np.float32)
    )
    with Catalog.open(data_dir.catalog_path, create=True) as catalog:
        catalog.set_meta("image_encoder", SPEC.to_dict())
        catalog.upsert(
            [
                ImageRecord(
                    id=f"image-{row}",
                    row=row,
                    path=f"pictures/{row}.jpg" if row % 2 else None,
                    tags=tuple(
                        Tag(name, 1.0 if row % 3 else 0.5)
                        for name, shown in zip(TAGS, carried[row], strict=True)
                        if shown
                    ),
                    split="test" if row % 7 == 6 else "train",
                    caption="a caption" if row % 5 == 0 else None,
                    attributes={"year": 2000 + row, "place": {"city": "Oslo"}} if row % 4 else {},
                    width=640,
                    height=480,
                    fingerprint=f"{row}:1:x",
                )
                for row in range(NUM)
            ]
        )
        catalog.add_skips("ingest-000001", [Skip("tags.jsonl", 25, "the file is empty", "image-24")])


def answers(data_dir: DataDir) -> list[dict[str, Any]]:
    """What each of QUESTIONS is answered with: ids, best first, and their scores."""
    engine = QueryEngine.open(Snapshot.open(data_dir))
    told = []
    for question in QUESTIONS:
        tags = tuple(QueryTag(name) for name in question.get("tags", ()))
        row = engine.row_of(question["id"]) if "id" in question else None
        hits = engine.search(
            engine.embed(Query(tags=tags, indexed_row=row)), question.get("visual_weight", 0.5), 8
        )
        told.append(
            {
                **question,
                "ids": [engine.image_ids[int(hit)] for hit in hits.rows],
                "scores": [round(float(score), 6) for score in hits.score],
            }
        )
    return told


def dump(database: Path) -> str:
    """SQL that makes the same database, its version and its mark included."""
    with closing(sqlite3.connect(database)) as connection:
        marks = [
            f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};"
            for name in ("user_version", "application_id")
        ]
        return "\n".join([*marks, *connection.iterdump()]) + "\n"


def make(folder: Path) -> None:
    """Everything that is kept, below `folder`, which must not be there yet."""
    with tempfile.TemporaryDirectory() as scratch:
        data_dir = DataDir(Path(scratch) / "data")
        catalogue(data_dir)
        train(data_dir, epochs=1)
        reindex(data_dir)
        told = answers(data_dir)
        text = dump(data_dir.catalog_path)
        left_out = shutil.ignore_patterns("*.sqlite*", "*.lock", "checkpoint*", "*.png", "*.svg")
        shutil.copytree(data_dir.root, folder, ignore=left_out)
    (folder / "catalog.sql").write_text(text, encoding="utf-8")
    (folder / "answers.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
