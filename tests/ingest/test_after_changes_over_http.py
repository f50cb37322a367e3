"""An ingestion after pictures were changed, removed or stored over HTTP."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.catalogue_reader import CatalogueReader
from app.ingest.blobs import original_path, thumbnail_path
from app.ingest.pipeline import ingest
from app.ingest.report import IngestReport, Replaced
from app.live.writer import CatalogueWriter
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.records import ImageRecord, Tag
from tests.ingest.conftest import Draw, records, tags_of, write_rows

IDS = [f"{number}.png" for number in range(5)]


@dataclass
class Sourced:
    """Five ingested pictures, their source, and a server that writes to their catalogue."""

    folder: Path
    data_dir: DataDir
    rows: list[dict[str, Any]]
    server: CatalogueWriter

    def ingest(self, **options: Any) -> IngestReport:
        source = write_rows(self.folder / "list.jsonl", self.rows)
        return ingest(source, self.data_dir, features=self.folder / "features.npy", **options)

    def edit(self, image_id: str) -> None:
        self.server.describe(image_id, (Tag("edited"),), lambda before: {**before, "price": 5})

    def stored(self, image_id: str) -> ImageRecord:
        return records(self.data_dir)[image_id]

    def is_edited(self, image_id: str) -> bool:
        stored = self.stored(image_id)
        return (tags_of(stored), stored.attributes) == (["edited"], {"price": 5})


@pytest.fixture
def sourced(tmp_path: Path, draw: Draw, data_dir: DataDir) -> Iterator[Sourced]:
    folder = tmp_path / "pictures"
    for seed, name in enumerate(IDS):
        draw(f"pictures/{name}", seed=seed)
    np.save(folder / "features.npy", np.random.default_rng(0).normal(size=(len(IDS), 8)))
    (folder / "features.ids.json").write_text(json.dumps(IDS))
    rows = [{"image": name, "tags": ["given"], "caption": "a picture"} for name in IDS]
    reader = CatalogueReader(data_dir)
    one = Sourced(folder, data_dir, rows, CatalogueWriter(data_dir, reader))
    one.ingest()
    yield one


def test_an_edit_stays_when_a_lost_thumbnail_is_made_again(sourced: Sourced) -> None:
    sourced.edit("1.png")
    small = thumbnail_path(sourced.data_dir, str(sourced.stored("1.png").sha256))
    small.unlink()

    report = sourced.ingest()

    assert (report.stored, report.edited, small.exists()) == (1, 0, True)
    assert sourced.is_edited("1.png") and sourced.stored("1.png").caption == "a picture"


def test_an_edit_stays_when_damaged_features_are_made_again(sourced: Sourced) -> None:
    sourced.edit("1.png")
    (features,) = sourced.data_dir.features_dir.glob("*.f32")
    with features.open("r+b") as file:
        file.seek(8 * 4 * sourced.stored("1.png").row)
        file.write(b"\xff" * 8)

    report = sourced.ingest()

    assert (report.stored, report.edited) == (1, 0)
    assert sourced.is_edited("1.png")


def test_an_edit_stays_when_the_file_got_another_time(sourced: Sourced) -> None:
    sourced.edit("1.png")
    os.utime(sourced.folder / "1.png", (10**9, 10**9))

    assert (sourced.ingest().stored, sourced.ingest().unchanged) == (1, 5)
    assert sourced.is_edited("1.png")


def test_an_edit_stays_when_the_folder_was_moved(sourced: Sourced) -> None:
    sourced.edit("1.png")
    sourced.folder = sourced.folder.rename(sourced.folder.with_name("moved"))

    report = sourced.ingest()

    assert (report.stored, report.edited, report.replaced) == (5, 0, 0)
    assert sourced.is_edited("1.png")
    assert sourced.stored("1.png").path == str(sourced.folder / "1.png")


def test_an_edit_stays_when_originals_are_kept_from_now_on(sourced: Sourced) -> None:
    sourced.edit("1.png")

    report = sourced.ingest(keep_originals=True)

    assert (report.stored, report.edited) == (5, 0)
    assert original_path(sourced.data_dir, str(sourced.stored("1.png").sha256)).exists()
    assert sourced.is_edited("1.png")


def test_an_edit_that_has_stayed_once_is_still_known_as_one(sourced: Sourced) -> None:
    sourced.edit("1.png")
    os.utime(sourced.folder / "1.png", (10**9, 10**9))
    sourced.ingest()
    sourced.rows[1]["year"] = 2020

    assert sourced.ingest().edited == 1


def test_edits_that_a_changed_row_of_the_source_undoes_are_counted_and_the_first_few_are_named(
    sourced: Sourced,
) -> None:
    for image_id in IDS[1:]:
        sourced.edit(image_id)
    for row in sourced.rows:
        row["year"] = 2020

    report = sourced.ingest()

    assert (report.stored, report.edited, report.first_edited) == (5, 4, ("1.png", "2.png", "3.png"))
    assert sourced.stored("1.png").attributes == {"year": 2020}
    assert sourced.ingest().edited == 0


def test_an_edit_is_counted_that_other_bytes_in_the_source_undo(sourced: Sourced, draw: Draw) -> None:
    sourced.edit("1.png")
    draw("pictures/1.png", seed=77, size=(41, 30))

    report = sourced.ingest()

    assert (report.edited, report.first_edited) == (1, ("1.png",))
    assert tags_of(sourced.stored("1.png")) == ["given"]


def test_an_edit_that_the_source_has_taken_over_is_not_counted(sourced: Sourced) -> None:
    sourced.edit("1.png")
    sourced.rows[1] |= {"tags": ["edited"], "price": 5}

    report = sourced.ingest()

    assert (report.stored, report.edited) == (1, 0)


def test_an_edited_picture_whose_source_is_as_it_was_is_unchanged(sourced: Sourced) -> None:
    sourced.edit("1.png")

    assert sourced.ingest().unchanged == 5
    assert sourced.is_edited("1.png")


@pytest.mark.parametrize("form", ["size:time:hash+", "size:time:hash"])
def test_a_fingerprint_of_an_older_imsage_is_recognised_also_when_the_picture_was_edited(
    sourced: Sourced, form: str
) -> None:
    with Catalog.open(sourced.data_dir.catalog_path) as catalog:
        marks = {record.id: str(record.fingerprint).rpartition(":")[0] for record in catalog.records()}
        if form == "size:time:hash":
            marks = {image_id: mark[:-1] for image_id, mark in marks.items()}
        catalog.upsert([replace(record, fingerprint=marks[record.id]) for record in catalog.records()])
    sourced.edit("1.png")

    assert sourced.ingest().unchanged == 5

    thumbnail_path(sourced.data_dir, str(sourced.stored("1.png").sha256)).unlink()
    assert sourced.ingest().stored == 1
    assert sourced.is_edited("1.png")


def test_an_uploaded_picture_of_the_same_bytes_counts_as_replaced(sourced: Sourced) -> None:
    path = str(sourced.folder / "2.png")
    with Catalog.open(sourced.data_dir.catalog_path) as catalog:
        uploaded = [
            replace(catalog.get(image_id), fingerprint=None, path=where, tags=(Tag("uploaded"),))
            for image_id, where in (("1.png", None), ("2.png", path))
        ]
        catalog.upsert(uploaded)

    report = sourced.ingest()

    assert (report.stored, report.replaced, report.first_replaced) == (2, 2, Replaced("1.png", None))


def test_a_removed_picture_that_its_source_still_has_is_stored_again_counted_and_named(
    sourced: Sourced,
) -> None:
    sourced.server.delete(["1.png", "3.png"])

    report = sourced.ingest()

    assert (report.stored, report.returned, report.first_returned) == (2, 2, "1.png")
    assert set(records(sourced.data_dir)) == set(IDS)
    assert sourced.ingest().returned == 0


def test_a_removal_is_remembered_when_its_change_is_forgotten(sourced: Sourced) -> None:
    sourced.server.delete(["1.png"])
    with Catalog.open(sourced.data_dir.catalog_path) as catalog:
        catalog.forget_changes(catalog.revision())

    assert sourced.ingest().returned == 1


def test_what_was_pruned_and_is_there_again_had_not_been_removed_over_http(sourced: Sourced) -> None:
    aside = sourced.folder / "1.aside"
    last = sourced.rows.pop(1)
    (sourced.folder / "1.png").rename(aside)
    assert sourced.ingest(prune=True).pruned
    aside.rename(sourced.folder / "1.png")
    sourced.rows.append(last)

    report = sourced.ingest()

    assert (report.stored, report.returned) == (1, 0)


def test_a_removed_picture_that_was_stored_over_http_again_has_not_returned_from_its_source(
    sourced: Sourced,
) -> None:
    with Catalog.open(sourced.data_dir.catalog_path) as catalog:
        one = catalog.get("1.png")
        sourced.server.delete(["1.png"])
        catalog.upsert([replace(one, fingerprint=None)])

    report = sourced.ingest()

    assert (report.replaced, report.returned) == (1, 0)
