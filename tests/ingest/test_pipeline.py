from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.images import PictureLimits
from app.ingest import store
from app.ingest.blobs import original_path, thumbnail_path
from app.ingest.engines.engine import LocalIngest, Recipe, Work
from app.ingest.features import PictureEncoding
from app.ingest.pipeline import ingest
from app.ingest.report import IngestReport, Replaced
from app.ingest.store import ENCODER_KEY
from app.verify import verify_data_dir
from gnn.encoders.base import EncoderSpec
from gnn.encoders.registry import image_encoder
from graph_store.catalog import Catalog
from graph_store.checksums import sha256_of_file
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, DataDirBusy, EncoderMismatch, UnknownName
from graph_store.features import FeatureFile
from graph_store.progress import SilentProgress
from tests.chaos.exhausting import as_nobody
from tests.ingest.conftest import Draw, drawn, records, tags_of, with_features, write_rows

SUBJECT = (
    b'<r xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    b"<dc:subject><rdf:Bag><rdf:li>lighthouse</rdf:li></rdf:Bag></dc:subject></r>"
)


def stored_features(data_dir: DataDir) -> dict[str, np.ndarray]:
    """The feature of each image, as graph and search will find it."""
    with Catalog.open(data_dir.catalog_path) as catalog:
        spec = EncoderSpec.from_dict(catalog.meta(ENCODER_KEY))
        view = FeatureFile.open(data_dir.features_dir, spec.slug, spec.dim).view(catalog.next_row())
        return {record.id: np.array(view[record.row]) for record in catalog.records()}


def test_a_catalogue_is_stored_with_features_thumbnails_and_splits(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("images/1.jpg", seed=1, size=(500, 300))
    draw("images/2.png", seed=2)
    source = write_rows(
        tmp_path / "tags.jsonl",
        [
            {"image": "images/1.jpg", "tags": ["dog"], "split": "test", "year": 1999},
            {"image": "images/2.png", "id": "two", "caption": "two colours"},
        ],
    )

    report = ingest(source, data_dir)

    assert (report.seen, report.stored, report.unchanged, report.skipped) == (2, 2, 0, ())
    found = records(data_dir)
    assert found["images/1.jpg"].split == "test" and found["images/1.jpg"].attributes == {"year": 1999}
    assert (found["images/1.jpg"].width, found["images/1.jpg"].height) == (500, 300)
    assert found["two"].caption == "two colours"
    for record in found.values():
        with Image.open(thumbnail_path(data_dir, str(record.sha256))) as thumbnail:
            assert max(thumbnail.size) <= 256
        assert Path(str(record.path)).is_file()
    encoder = image_encoder()
    expected = encoder.encode(encoder.preprocess(drawn(2))[np.newaxis])[0]
    np.testing.assert_allclose(stored_features(data_dir)["two"], expected, atol=1e-5)


def test_a_second_run_finds_everything_unchanged(tmp_path: Path, draw: Draw, data_dir: DataDir) -> None:
    for seed in range(5):
        draw(f"{seed}.png", seed=seed)
    source = write_rows(tmp_path / "tags.jsonl", [{"image": f"{seed}.png"} for seed in range(5)])
    ingest(source, data_dir)
    before = records(data_dir)

    report = ingest(source, data_dir)

    assert (report.seen, report.stored, report.unchanged) == (5, 0, 5)
    assert records(data_dir) == before


def test_only_what_changed_is_stored_again(tmp_path: Path, draw: Draw, data_dir: DataDir) -> None:
    rows: list[dict[str, Any]] = [{"image": f"{seed}.png", "tags": ["a"]} for seed in range(4)]
    for seed in range(4):
        draw(f"{seed}.png", seed=seed)
    source = write_rows(tmp_path / "tags.jsonl", rows)
    ingest(source, data_dir)
    before = stored_features(data_dir)
    rows[1]["tags"] = ["b"]
    draw("2.png", seed=77, size=(41, 30))
    write_rows(source, rows)

    report = ingest(source, data_dir)

    assert (report.stored, report.unchanged) == (2, 2)
    after = stored_features(data_dir)
    assert [bool(np.array_equal(before[name], after[name])) for name in before] == [True, True, False, True]
    assert tags_of(records(data_dir)["1.png"]) == ["b"]


def test_another_file_of_the_same_size_and_time_is_read(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    for seed, name in enumerate(("a.bmp", "b.bmp")):  # uncompressed, so of equal length
        draw(name, seed=seed)
        os.utime(tmp_path / name, (10**9, 10**9))
    assert (tmp_path / "a.bmp").stat().st_size == (tmp_path / "b.bmp").stat().st_size
    source = write_rows(tmp_path / "tags.jsonl", [{"id": "sku", "image": "a.bmp", "tags": ["x"]}])
    ingest(source, data_dir)
    before = stored_features(data_dir)["sku"]
    write_rows(source, [{"id": "sku", "image": "b.bmp", "tags": ["x"]}])

    ingest(source, data_dir)

    record = records(data_dir)["sku"]
    assert record.path == str(tmp_path / "b.bmp")
    assert record.sha256 == sha256_of_file(tmp_path / "b.bmp")
    assert not np.array_equal(before, stored_features(data_dir)["sku"])


def test_pictures_that_were_moved_are_found_where_they_are(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("old/a.png")
    ingest(write_rows(tmp_path / "old" / "tags.jsonl", [{"image": "a.png", "tags": ["x"]}]), data_dir)
    (tmp_path / "old").rename(tmp_path / "new")
    ingest(tmp_path / "new" / "tags.jsonl", data_dir)
    assert records(data_dir)["a.png"].path == str(tmp_path / "new" / "a.png")


def test_keywords_folders_and_sidecars_of_a_folder_all_become_tags(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("source/coast/1.jpg", xmp=SUBJECT)
    (tmp_path / "source" / "coast" / "1.txt").write_text("sea")
    (tmp_path / "source" / "readme.md").write_text("# Pictures")

    report = ingest(tmp_path / "source", data_dir)

    assert tags_of(records(data_dir)["coast/1.jpg"]) == ["coast", "sea", "lighthouse"]
    assert [skip.item for skip in report.skipped] == ["readme.md"]
    assert ingest(tmp_path / "source", data_dir).unchanged == 1


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


def test_every_kind_of_bad_picture_is_skipped_by_name_and_the_good_ones_are_stored(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    whole = draw("good.png").read_bytes()
    bad: dict[str, tuple[bytes, str]] = {
        "zero.jpg": (b"", "zero bytes"),
        "cut.png": (whole[:-30], "cut short"),
        "text.jpg": (b"just text", "not a picture"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        "bomb.png": (bomb(), "bomb"),
    }
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    images = [*bad, "good.png", "gone.jpg", "pipe.jpg", "folder.jpg", "good.png"]
    source = write_rows(tmp_path / "tags.jsonl", [*({"image": name} for name in images), "{broken"])

    report = ingest(source, data_dir)

    assert (report.seen, report.stored) == (11, 1)
    reasons = {(skip.line, skip.item): skip.reason for skip in report.skipped}
    for line, (name, (_, reason)) in enumerate(bad.items(), start=1):
        assert reason in reasons[(line, name)]
    assert "cannot be read" in reasons[(7, "gone.jpg")]
    assert "not a file" in reasons[(8, "pipe.jpg")] and "not a file" in reasons[(9, "folder.jpg")]
    assert "already used" in reasons[(10, "good.png")]
    assert "not valid JSON" in reasons[(11, "{broken")]
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert catalog.skips("ingest-000001") == list(report.skipped)


def test_an_unreadable_picture_is_skipped_by_name() -> None:
    # Root may read every file, and pytest's folders are their owner's alone: nobody gets one of their own.
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o777)
        names = ["good.png", "secret.png"]
        for name in names:
            drawn(0).save(place / name)
        source = write_rows(place / "tags.jsonl", [{"image": name} for name in names])
        # Once with all rights: what is imported at its first use may lie where nobody can read.
        with_features(source, DataDir(place / "before"), names)
        (place / "secret.png").chmod(0)

        with as_nobody():
            report = ingest(source, DataDir(place / "data"), features=place / "features.npy")

    (skip,) = report.skipped
    assert skip.item == "secret.png" and "Permission denied" in skip.reason
    assert report.stored == 1


def test_a_good_thumbnail_is_not_written_again(tmp_path: Path, draw: Draw, data_dir: DataDir) -> None:
    picture = draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}])
    with_features(source, data_dir, ["1.png"])
    thumbnail = thumbnail_path(data_dir, records(data_dir)["1.png"].sha256 or "")
    os.utime(thumbnail, ns=(0, 0))
    os.utime(picture, ns=(1, 1))

    assert with_features(source, data_dir, ["1.png"]).stored == 1
    assert thumbnail.stat().st_mtime_ns == 0


def test_unicode_tags_are_stored_and_overlong_ones_are_noted(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("1.png")
    tags = ["北京 🐕", "x" * 300, "y" * 301]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png", "tags": tags}])

    report = ingest(source, data_dir)

    assert tags_of(records(data_dir)["1.png"]) == tags[:2]
    assert report.stored == 1 and report.skipped == ()
    assert [note.item for note in report.notes] == ["1.png"] and "301" in report.notes[0].reason


@pytest.mark.parametrize("rows", [[], ["", " "]])
def test_an_empty_catalogue_is_refused(tmp_path: Path, data_dir: DataDir, rows: list[str]) -> None:
    with pytest.raises(BadInput, match="holds no images"):
        ingest(write_rows(tmp_path / "tags.jsonl", rows), data_dir)


def test_an_empty_folder_is_refused(tmp_path: Path, data_dir: DataDir) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no images"):
        ingest(tmp_path / "empty", data_dir)


def test_of_a_source_of_which_nothing_can_be_used_everything_is_told_and_then_it_is_refused(
    tmp_path: Path, data_dir: DataDir
) -> None:
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "gone.jpg"}, {"image": "gone-too.jpg"}])

    report = ingest(source, data_dir)

    assert [skip.item for skip in report.skipped] == ["gone.jpg", "gone-too.jpg"]
    with pytest.raises(BadInput, match=r"None of the 2 images.*gone\.jpg"):
        report.refuse_if_useless()

    with Catalog.open(data_dir.catalog_path) as catalog:
        assert len(catalog.skips()) == 2


def test_strict_stops_at_the_first_bad_row_and_names_it(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}, {"image": "gone.png"}])

    with pytest.raises(BadInput, match=r"tags\.jsonl, line 2: gone\.png"):
        ingest(source, data_dir, strict=True)

    assert list(records(data_dir)) == ["1.png"]


def test_originals_are_kept_when_asked_also_of_images_stored_before(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    picture = draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}])
    ingest(source, data_dir)

    report = ingest(source, data_dir, keep_originals=True)

    digest = str(records(data_dir)["1.png"].sha256)
    assert report.stored == 1
    assert original_path(data_dir, digest).read_bytes() == picture.read_bytes()
    assert ingest(source, data_dir, keep_originals=True).unchanged == 1


def test_a_second_process_is_refused(tmp_path: Path, draw: Draw, data_dir: DataDir) -> None:
    draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}])
    with data_dir.lock("train"), pytest.raises(DataDirBusy, match="train"):
        ingest(source, data_dir)


def test_an_unknown_encoder_is_refused_before_anything_is_written(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}])

    with pytest.raises(UnknownName):
        ingest(source, data_dir, encoder="resnet")

    assert not data_dir.root.exists()


def test_progress_reaches_its_total(tmp_path: Path, draw: Draw, data_dir: DataDir) -> None:
    class Counting:
        total: int | None = None
        done = 0

        @contextmanager
        def phase(self, name: str, total: int | None = None) -> Any:
            self.total = total
            yield self.advance

        def advance(self, done: int) -> None:
            self.done += done

    draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}, {"image": "gone.png"}, "nonsense"])
    for _ in range(2):
        progress = Counting()
        ingest(source, data_dir, progress=progress)
        assert progress.done == progress.total == 3


def test_a_data_directory_among_the_pictures_is_not_ingested(tmp_path: Path, draw: Draw) -> None:
    for seed in range(3):
        draw(f"photos/{seed}.png", seed=seed)
    data_dir = DataDir(tmp_path / "photos" / "imsage-data")
    ingest(tmp_path / "photos", data_dir)

    report = ingest(tmp_path / "photos", data_dir)

    assert (report.seen, report.unchanged) == (3, 3)
    with pytest.raises(BadInput, match="data directory itself"):
        ingest(data_dir.root, data_dir)


def test_a_picture_that_takes_the_place_of_another_files_is_counted_and_one_is_named(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    for name, seed in (("one/a.png", 1), ("one/b.png", 2), ("one/same.png", 3)):
        draw(name, seed=seed)
    for name, seed in (("two/a.png", 4), ("two/b.png", 5), ("two/same.png", 3), ("two/new.png", 6)):
        draw(name, seed=seed)
    assert ingest(tmp_path / "one", data_dir).replaced == 0

    report = ingest(tmp_path / "two", data_dir)

    assert (report.seen, report.stored, report.replaced) == (4, 4, 2)
    assert report.first_replaced == Replaced("a.png", str(tmp_path / "one" / "a.png"))
    # A file that was changed, moved or is reached by another name is no other file.
    draw("two/a.png", seed=7)
    (tmp_path / "two").rename(tmp_path / "three")
    (tmp_path / "four").symlink_to(tmp_path / "three")
    assert ingest(tmp_path / "three", data_dir).replaced == 0
    draw("three/a.png", seed=8)
    assert ingest(tmp_path / "four", data_dir).replaced == 0


def test_what_is_gone_from_a_folder_is_told_and_removed_when_asked(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    for seed, name in enumerate(("cats/1.png", "cats/2.png", "dogs/1.png")):
        draw(f"source/{name}", seed=seed)
    other = write_rows(tmp_path / "tags.jsonl", [{"image": draw("elsewhere.png", seed=9).name}])
    source = tmp_path / "source"
    ids = [f"{folder}/{n}.png" for folder in ("cats", "kittens", "dogs") for n in (1, 2)]
    ingested = partial(brought, tmp_path, data_dir, [*ids, "elsewhere.png"])
    ingested(other)
    before = ingested(source)
    (source / "cats").rename(source / "kittens")
    (source / "dogs" / "1.png").unlink()
    (tmp_path / "elsewhere.png").unlink()
    dog = thumbnail_path(data_dir, str(records(data_dir)["dogs/1.png"].sha256))

    told = ingested(source)
    kept = set(records(data_dir))
    pruned = ingested(source, prune=True)

    assert (before.gone, before.first_gone) == (0, None)
    assert (told.gone, told.first_gone, told.pruned) == (3, "cats/1.png", False)
    gone, left = {"cats/1.png", "cats/2.png", "dogs/1.png"}, {"kittens/1.png", "kittens/2.png"}
    assert kept == {"elsewhere.png"} | left | gone
    assert (pruned.gone, pruned.pruned, pruned.unchanged) == (3, True, 2)
    assert set(records(data_dir)) == {"elsewhere.png"} | left
    assert not dog.exists() and verify_data_dir(data_dir, SilentProgress()) == []
    with Catalog.open(data_dir.catalog_path) as catalog:
        changes = catalog.changes(catalog.revision() - 3)
    assert {name: change.record for name, change in changes.by_id.items()} == dict.fromkeys(gone)
    assert ingested(source).gone == 0


def brought(tmp_path: Path, data_dir: DataDir, ids: list[str], source: Path, **options: Any) -> IngestReport:
    """As with_features, whose features would lie among the pictures of a folder."""
    np.save(tmp_path / "features.npy", np.random.default_rng(0).normal(size=(len(ids), 8)))
    (tmp_path / "features.ids.txt").write_text("\n".join(ids))
    return ingest(source, data_dir, features=tmp_path / "features.npy", **options)


def test_nothing_is_pruned_that_may_come_back_or_when_nothing_is_left(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("disk/1.png")
    draw("source/2.png", seed=1)
    (tmp_path / "source" / "linked").symlink_to(tmp_path / "disk")
    ingested = partial(brought, tmp_path, data_dir, ["linked/1.png", "2.png"])
    assert ingested(tmp_path / "source").stored == 2
    (tmp_path / "disk").rename(tmp_path / "not mounted")

    assert (ingested(tmp_path / "source", prune=True).gone, set(records(data_dir))) == (
        0,
        {"linked/1.png", "2.png"},
    )
    (tmp_path / "source" / "2.png").unlink()
    assert not ingested(tmp_path / "source", prune=True).pruned
    (tmp_path / "source" / "linked").unlink()
    with pytest.raises(BadInput, match="holds no images"):
        ingested(tmp_path / "source", prune=True)
    assert set(records(data_dir)) == {"linked/1.png", "2.png"}


def test_what_a_list_still_names_is_gone_when_its_file_is(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    names = [draw(f"{seed}.png", seed=seed).name for seed in range(3)]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": name} for name in names])
    with_features(source, data_dir, names)
    (tmp_path / names[1]).unlink()

    report = with_features(source, data_dir, names, prune=True)

    assert (report.gone, report.first_gone) == (1, names[1])
    assert [skip.item for skip in report.skipped] == [names[1]]
    assert set(records(data_dir)) == {names[0], names[2]}


def test_a_picture_that_a_list_names_and_that_cannot_be_used_is_not_gone(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    names = [draw(f"{seed}.png", seed=seed).name for seed in range(2)]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": name} for name in names])
    with_features(source, data_dir, names)
    (tmp_path / names[0]).write_bytes(b"no picture")

    assert with_features(source, data_dir, names, prune=True).gone == 0
    assert set(records(data_dir)) == set(names)


def test_pictures_of_other_sources_are_looked_for_by_the_folder_and_not_one_by_one(
    tmp_path: Path, draw: Draw, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [draw(f"shelf/{seed}.png", seed=seed).name for seed in range(4)]
    rows = [{"image": f"shelf/{name}"} for name in names]
    ids = [row["image"] for row in rows]
    with_features(write_rows(tmp_path / "all.jsonl", rows[:3]), data_dir, ids)
    (tmp_path / ids[0]).unlink()
    looked_for: list[str] = []
    lstat = Path.lstat

    def noted(path: Path) -> os.stat_result:
        looked_for.append(path.name)
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", noted)
    report = with_features(write_rows(tmp_path / "new.jsonl", rows[3:]), data_dir, ids)

    assert (report.gone, report.first_gone) == (1, ids[0])
    assert not set(names[1:3]) & set(looked_for)


def test_to_look_for_what_is_gone_and_to_remove_it_show_how_far_they_are(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    names = [draw(f"{seed}.png", seed=seed).name for seed in range(3)]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": name} for name in names])
    with_features(source, data_dir, names)
    write_rows(source, [{"image": names[0]}])
    (tmp_path / names[1]).unlink()
    done: dict[str, list[int]] = {}

    class Shown:
        @contextmanager
        def phase(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
            done[name] = [total or 0]
            yield done[name].append

    with_features(source, data_dir, names, prune=True, progress=Shown())

    assert done["Looking for what is gone"] == [2, 1, 1]
    assert done["Removing what is gone"] == [1, 1]


def test_what_was_uploaded_from_the_same_folder_is_not_gone_from_a_source(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    names = [draw(f"{seed}.png", seed=seed).name for seed in range(3)]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": name} for name in names])
    with_features(source, data_dir, names)
    with Catalog.open(data_dir.catalog_path) as catalog:
        catalog.upsert([replace(catalog.get(names[1]), fingerprint=None)])
    for name in names[1:]:
        (tmp_path / name).unlink()
    write_rows(source, [{"image": names[0]}])

    report = with_features(source, data_dir, names, prune=True)

    assert (report.gone, report.first_gone) == (1, names[2])
    assert set(records(data_dir)) == set(names[:2])


def test_an_uploaded_picture_that_an_ingested_one_replaces_is_counted(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    names = [draw(f"{seed}.png", seed=seed).name for seed in range(2)]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": name} for name in names])
    with_features(source, data_dir, names)
    with Catalog.open(data_dir.catalog_path) as catalog:
        one, same = (replace(catalog.get(name), path=None, fingerprint=None) for name in names)
        catalog.upsert([replace(one, sha256="0" * 64), same])

    report = with_features(source, data_dir, names)

    assert (report.stored, report.replaced, report.first_replaced) == (2, 2, Replaced("0.png", None))


def test_the_callers_limits_of_size_hold(tmp_path: Path, draw: Draw, data_dir: DataDir) -> None:
    size = draw("1.png").stat().st_size
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}])
    for limits in (PictureLimits(max_bytes=size - 1), PictureLimits(max_pixels=40 * 30 - 1)):
        (skip,) = with_features(source, data_dir, ["1.png"], limits=limits).skipped
        assert "at most" in skip.reason
    assert with_features(source, data_dir, ["1.png"], limits=PictureLimits(size, 40 * 30)).stored == 1


def test_the_skips_of_a_run_that_was_cut_short_are_not_kept_beside_those_of_its_repetition(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "gone.png"}, {"image": "1.png"}, "nonsense"])
    with pytest.raises(KeyboardInterrupt):
        ingest(source, data_dir, engine=CutShort(), batch_size=1)
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert [skip.item for skip in catalog.skips()] == ["gone.png"] * 8

    report = ingest(source, data_dir)

    with Catalog.open(data_dir.catalog_path) as catalog:
        assert catalog.skips() == list(report.skipped) and len(report.skipped) == 2


def test_what_a_run_that_was_cut_short_left_out_is_named_by_its_repetition(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    names = [draw(f"{seed}.png", seed=seed).name for seed in range(20)]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": name, "tags": ["x" * 301]} for name in names])
    with pytest.raises(KeyboardInterrupt):
        with_features(source, data_dir, names, progress=Ending(12), batch_size=1)
    assert 0 < len(records(data_dir)) < 20

    report = with_features(source, data_dir, names)

    assert report.unchanged > 0 and {note.item for note in report.notes} == set(names)
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert {skip.item for skip in catalog.skips()} == set(names)


class Ending:
    """A progress that ends the run at its `last` picture."""

    def __init__(self, last: int) -> None:
        self._left = last

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        yield self._advance

    def _advance(self, done: int) -> None:
        self._left -= done
        if self._left <= 0:
            raise KeyboardInterrupt


def test_what_runs_have_skipped_does_not_add_up_for_ever(tmp_path: Path, data_dir: DataDir) -> None:
    source = write_rows(tmp_path / "tags.jsonl", [{"id": "a"}, "nonsense"])
    for _ in range(5):
        with_features(source, data_dir, ["a"])
    with Catalog.open(data_dir.catalog_path) as catalog:
        runs = [run["run"] for run in catalog.meta("ingest_runs")]
        assert [len(catalog.skips(run)) for run in runs] == [0, 0, 1, 1, 1]


def test_the_list_of_runs_does_not_grow_for_ever_and_names_still_rise(
    tmp_path: Path, data_dir: DataDir
) -> None:
    source = write_rows(tmp_path / "tags.jsonl", [{"id": "a"}])
    with_features(source, data_dir, ["a"])
    with Catalog.open(data_dir.catalog_path) as catalog:
        catalog.set_meta("ingest_runs", [{"run": f"ingest-{number:06d}"} for number in range(1, 151)])
    with_features(source, data_dir, ["a"])
    with_features(source, data_dir, ["a"])
    with Catalog.open(data_dir.catalog_path) as catalog:
        runs = [run["run"] for run in catalog.meta("ingest_runs")]

    assert len(runs) == 100 and runs[-2:] == ["ingest-000151", "ingest-000152"]


class CutShort(LocalIngest):
    """As a kill ends it, after eight skips were committed: `ingest` commits by eight batches."""

    def outcomes(self, work: Iterable[Work], recipe: Recipe, maker: PictureEncoding) -> Any:
        (skip,) = islice(work, 1)
        yield from [skip] * 8
        raise KeyboardInterrupt


def test_keywords_come_and_go_with_the_source_that_asks_for_them(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("source/1.jpg", xmp=SUBJECT)
    write_rows(tmp_path / "source" / "tags.jsonl", [{"image": "1.jpg"}])
    for format, tags in (("folder", ["lighthouse"]), ("auto", []), ("folder", ["lighthouse"])):
        ingest(tmp_path / "source", data_dir, format=format)
        assert tags_of(records(data_dir)["1.jpg"]) == tags
        assert ingest(tmp_path / "source", data_dir, format=format).stored == 0


def test_a_catalogue_of_before_keywords_were_told_apart_is_not_read_again(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("source/1.jpg", xmp=SUBJECT)
    ingest(tmp_path / "source", data_dir)
    with Catalog.open(data_dir.catalog_path) as catalog:
        record = catalog.get("1.jpg")
        mark = str(record.fingerprint).rpartition("+:")[0]
        catalog.upsert([replace(record, fingerprint=mark)])

    assert ingest(tmp_path / "source", data_dir).unchanged == 1


# -- features brought along


def test_brought_features_are_joined_by_id_with_or_without_pictures(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"id": "b"}, {"id": "a", "image": "1.png"}])

    report = with_features(source, data_dir, ["a", "b", "never asked for"])

    assert report.stored == 2
    vectors = np.load(tmp_path / "features.npy")
    found = stored_features(data_dir)
    np.testing.assert_allclose(found["a"], vectors[0] / np.linalg.norm(vectors[0]), atol=1e-6)
    np.testing.assert_allclose(found["b"], vectors[1] / np.linalg.norm(vectors[1]), atol=1e-6)
    kept = records(data_dir)
    assert thumbnail_path(data_dir, str(kept["a"].sha256)).is_file()
    assert kept["b"].path is None and kept["b"].sha256 is None
    assert with_features(source, data_dir, ["a", "b", "never asked for"]).unchanged == 2


def test_nan_features_and_missing_ones_are_skipped_by_name(tmp_path: Path, data_dir: DataDir) -> None:
    source = write_rows(tmp_path / "tags.jsonl", [{"id": name} for name in ("good", "nan", "missing")])
    vectors = np.eye(2, dtype=np.float32)
    vectors[1, 0] = np.nan
    np.save(tmp_path / "f.npy", vectors)
    (tmp_path / "f.ids.txt").write_text("good\nnan\n")

    report = ingest(source, data_dir, features=tmp_path / "f.npy", encoder="precomputed:mine")

    assert report.stored == 1
    assert [(skip.item, skip.line) for skip in report.skipped] == [("nan", 2), ("missing", 3)]
    assert "NaN" in report.skipped[0].reason


def test_a_row_with_neither_picture_nor_features_is_skipped(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}, {"id": "alone"}])

    (skip,) = ingest(source, data_dir).skipped

    assert skip.item == "alone" and "no features were brought" in skip.reason


def test_features_of_another_dimension_or_encoder_are_refused(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png", "id": "a"}])
    with_features(source, data_dir, ["a"])
    np.save(tmp_path / "features.npy", np.ones((1, 9), dtype=np.float32))

    with pytest.raises(EncoderMismatch, match="dim"):
        ingest(source, data_dir, features=tmp_path / "features.npy")
    with pytest.raises(EncoderMismatch, match="precomputed"):
        ingest(source, data_dir)


def test_precomputed_without_a_file_is_refused(tmp_path: Path, draw: Draw, data_dir: DataDir) -> None:
    draw("1.png")
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}])
    with pytest.raises(BadInput, match="--features"):
        ingest(source, data_dir, encoder="precomputed")


# -- what must hold at the end


def test_a_lost_item_is_noticed() -> None:
    with pytest.raises(AssertionError, match="lost"):
        IngestReport(seen=3, stored=1, unchanged=1, skipped=())


def test_attributes_too_deep_to_store_are_a_named_skip(
    tmp_path: Path, data_dir: DataDir, draw: Callable[..., Path]
) -> None:
    draw("1.png")
    deep = '{"image": "1.png", "id": "deep", "x": ' + "[" * 400 + "]" * 400 + "}"
    source = write_rows(tmp_path / "tags.jsonl", [deep, {"image": "1.png", "id": "fine", "x": [[1]]}])

    (skip,) = ingest(source, data_dir).skipped

    assert skip.item == "deep" and "attributes" in skip.reason


@pytest.mark.parametrize("lost", ["thumbnail", "half a thumbnail", "features", "the end of the features"])
def test_what_was_lost_of_an_unchanged_picture_is_made_anew(
    tmp_path: Path, draw: Draw, data_dir: DataDir, lost: str
) -> None:
    rows = [{"image": draw(f"{seed}.png", seed=seed).name, "tags": ["a"]} for seed in range(4)]
    source = write_rows(tmp_path / "tags.jsonl", rows)
    ingest(source, data_dir)
    expected = stored_features(data_dir)
    (features,) = data_dir.features_dir.glob("*.f32")
    thumbnail = thumbnail_path(data_dir, records(data_dir)["3.png"].sha256 or "")
    data = features.read_bytes()
    if lost == "thumbnail":
        thumbnail.unlink()
    elif lost == "half a thumbnail":
        thumbnail.write_bytes(thumbnail.read_bytes()[:40])
    else:
        features.write_bytes(data[:-2000] if lost != "features" else data[:-1] + bytes([data[-1] ^ 1]))

    report = ingest(source, data_dir)

    assert (report.stored, report.unchanged) == (1, 3)
    assert verify_data_dir(data_dir, SilentProgress()) == []
    assert ingest(source, data_dir).unchanged == 4
    found = stored_features(data_dir)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("lost", [".f32", ".json"])
def test_what_a_power_cut_took_of_the_features_is_made_anew(
    tmp_path: Path, draw: Draw, data_dir: DataDir, lost: str
) -> None:
    names = [draw(f"{seed}.png", seed=seed).name for seed in range(3)]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": name} for name in names])
    with_features(source, data_dir, names)
    expected = stored_features(data_dir)
    next(data_dir.features_dir.glob(f"*{lost}")).unlink()
    data_dir.lock_path.write_text('{"boot": "another"}')

    with_features(source, data_dir, names)

    found = stored_features(data_dir)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_server_can_write_while_the_files_of_many_replaced_pictures_are_removed(
    tmp_path: Path, draw: Draw, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_REMOVED_AT_ONCE", 2)
    names = [draw(f"{seed}.png", seed=seed).name for seed in range(5)]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": name} for name in names])
    with_features(source, data_dir, names)
    first = {record.sha256 for record in records(data_dir).values()}
    for seed, name in enumerate(names):
        draw(name, seed=10 + seed)
    removed: list[list[str]] = []
    writing, unlink = DataDir.writing, Path.unlink

    @contextmanager
    def noted_writing(self: DataDir, *purpose: Any) -> Iterator[None]:
        removed.append([])
        with writing(self, *purpose):
            yield

    def noted_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".webp":
            removed[-1].append(path.stem)
        unlink(path, missing_ok)

    monkeypatch.setattr(DataDir, "writing", noted_writing)
    monkeypatch.setattr(Path, "unlink", noted_unlink)
    with_features(source, data_dir, names)

    assert [len(some) for some in removed if some] == [2, 2, 1]
    assert {name for some in removed for name in some} == first


def test_new_tags_alone_look_for_no_files_to_remove(
    tmp_path: Path, draw: Draw, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw("1.png")
    with_features(write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}]), data_dir, ["1.png"])
    asked: list[str] = []
    monkeypatch.setattr(Catalog, "keeps_blob", lambda _, sha256: asked.append(sha256))
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png", "tags": ["new"]}])
    assert with_features(source, data_dir, ["1.png"]).stored == 1
    assert asked == []


@pytest.mark.parametrize("left", [None, 0, 40])
def test_a_kept_original_that_was_lost_or_cut_is_made_anew(
    tmp_path: Path, draw: Draw, data_dir: DataDir, left: int | None
) -> None:
    picture = draw("1.png").read_bytes()
    source = write_rows(tmp_path / "tags.jsonl", [{"image": "1.png"}])
    with_features(source, data_dir, ["1.png"], keep_originals=True)
    original = original_path(data_dir, str(records(data_dir)["1.png"].sha256))
    if left is None:
        original.unlink()
    else:
        original.write_bytes(picture[:left])

    report = with_features(source, data_dir, ["1.png"], keep_originals=True)

    assert report.stored == 1 and original.read_bytes() == picture
    assert with_features(source, data_dir, ["1.png"], keep_originals=True).unchanged == 1


def test_a_picture_that_replaced_another_leaves_no_file_of_it(
    tmp_path: Path, draw: Draw, data_dir: DataDir
) -> None:
    names = [draw(f"{seed}.png", seed=seed).name for seed in range(3)]
    source = write_rows(tmp_path / "tags.jsonl", [{"image": name} for name in names])
    ingest(source, data_dir, keep_originals=True)
    # The first two change places, so that neither is gone; the third is another picture now.
    draw("0.png", seed=1), draw("1.png", seed=0), draw("2.png", seed=7)

    assert ingest(source, data_dir, keep_originals=True, batch_size=1).stored == 3

    expected = {record.sha256 for record in records(data_dir).values()}
    blobs = [path for path in data_dir.blobs_dir.rglob("*") if path.is_file()]
    assert {path.name.partition(".")[0] for path in blobs} == expected and len(blobs) == 6
