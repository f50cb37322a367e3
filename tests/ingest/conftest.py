"""Small drawn pictures, and a data directory to put them into."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.ingest.pipeline import IngestReport, ingest
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.records import ImageRecord

Draw = Callable[..., Path]


def drawn(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Two flat halves in colours drawn from `seed`: small files, and no two alike."""
    colours = np.random.default_rng(seed).integers(0, 256, (2, 3), dtype=np.uint8)
    pixels = np.repeat(colours, [size[0] // 2, size[0] - size[0] // 2], axis=0)
    return Image.fromarray(np.broadcast_to(pixels, (size[1], size[0], 3)).copy())


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Saves a small picture at a path below the test's folder, and returns the path."""

    def save(name: str, seed: int = 0, size: tuple[int, int] = (40, 30), **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(seed, size).save(path, **options)
        return path

    return save


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any] | str]) -> Path:
    """A tags.jsonl of objects; a string goes in as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def records(data_dir: DataDir) -> dict[str, ImageRecord]:
    """What the catalogue holds, by id."""
    with Catalog.open(data_dir.catalog_path) as catalog:
        return {record.id: record for record in catalog.records()}


def tags_of(record: ImageRecord) -> list[str]:
    return [tag.name for tag in record.tags]


def with_features(source: Path, data_dir: DataDir, ids: Sequence[str], **options: Any) -> IngestReport:
    """Ingests with drawn features instead of an encoder: for tests that are not about pixels."""
    path = source.with_name("features.npy")
    np.save(path, np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32))
    path.with_name("features.ids.json").write_text(json.dumps(list(ids)))
    return ingest(source, data_dir, features=path, **options)
