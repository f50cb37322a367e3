"""`imsage info`, `verify`, `export` and `import` on a real catalogue."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from app import archive as archive_module
from app.archive import export_archive, import_archive
from app.archive_contents import LISTING
from app.cli import run
from app.cli.errors import FAILURE
from app.info import describe
from app.ingest.blobs import is_whole_thumbnail
from app.jobs.places import jobs_path
from app.keys import keys_path
from app.verify import verify_data_dir
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.progress import SilentProgress


@pytest.fixture(scope="module")
def archive(ingested_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("archive") / "shapes.tar"
    assert run(["export", str(file), "--data", str(ingested_data_dir.root)]) == 0
    return file


def files_of(data_dir: DataDir) -> dict[str, bytes]:
    return {
        path.relative_to(data_dir.root).as_posix(): path.read_bytes()
        for path in sorted(data_dir.root.rglob("*"))
        if path.is_file() and not path.name.startswith(("catalog.sqlite", "imsage.lock", "imsage-write.lock"))
    }


def test_info_counts_images_tags_and_what_is_held_out(
    ingested_data_dir: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", "--json", "--data", str(ingested_data_dir.root)]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["untagged"], told["tags"]) == (120, 3, 15)
    assert 15 <= told["held_out"] <= 30
    assert told["encoder"] == "efficientnet_lite0"
    assert told["snapshot"] is None


def test_info_is_a_readable_table(ingested_data_dir: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--data", str(ingested_data_dir.root)]) == 0

    told = capsys.readouterr().out
    assert "120 of which" in told
    assert "efficientnet_lite0" in told


def test_verify_finds_nothing_wrong_with_a_whole_catalogue(
    ingested_data_dir: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", "--data", str(ingested_data_dir.root)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out


def test_verify_names_every_damaged_file(ingested_copy: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    features = next(ingested_copy.features_dir.glob("*.f32"))
    features.write_bytes(features.read_bytes()[:-4096])
    thumbnail = next(ingested_copy.blobs_dir.rglob("*.webp"))
    thumbnail.unlink()

    assert run(["verify", "--data", str(ingested_copy.root)]) == FAILURE

    told = capsys.readouterr()
    assert str(features) in told.out
    assert str(thumbnail) in told.out
    assert told.err.count("\n") == 1


def test_verify_names_a_digest_that_is_none_and_goes_on(
    ingested_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(ingested_copy.catalog_path)) as connection, connection:
        (first, second) = connection.execute("SELECT id FROM image ORDER BY id LIMIT 2").fetchall()
        for (image_id,), digest in ((first, "../../outside"), (second, "ab" * 32)):
            connection.execute("UPDATE image SET sha256 = ? WHERE id = ?", (digest, image_id))

    assert run(["verify", "--data", str(ingested_copy.root)]) == FAILURE

    told = capsys.readouterr().out
    assert f"'../../outside' in place of the SHA-256 of a picture, {first[0]!r}" in told
    assert f"the thumbnail of {second[0]!r} is missing" in told


def test_verify_does_not_take_a_picture_that_is_being_removed_for_damage(
    ingested_copy: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a service does beside it: the image first, then its files, in the middle of the look at them."""

    def removed_then_looked(thumbnail: Path) -> bool:
        with Catalog.open(ingested_copy.catalog_path) as catalog:
            image_id = next((one.id for one in catalog.records() if one.sha256 == thumbnail.stem), None)
            if image_id is not None:
                catalog.delete([image_id])
                thumbnail.unlink()
        return is_whole_thumbnail(thumbnail)

    monkeypatch.setattr("app.verify.is_whole_thumbnail", removed_then_looked)
    assert run(["verify", "--data", str(ingested_copy.root)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out


def test_verify_opens_the_catalogue_no_more_often_for_many_missing_thumbnails(
    ingested_copy: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    original = Catalog.open

    def noted(path: Path, **options: bool) -> Catalog:
        opened.append(path)
        return original(path, **options)

    thumbnails = list(ingested_copy.blobs_dir.rglob("*.webp"))
    for thumbnail in thumbnails:
        thumbnail.unlink()
    monkeypatch.setattr(Catalog, "open", noted)
    problems = verify_data_dir(ingested_copy, SilentProgress())

    assert len(problems) == len(thumbnails) > 100
    assert len(opened) < 10


def test_verify_names_damaged_keys_and_a_damaged_history_at_once(
    ingested_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (keys_path(ingested_copy), jobs_path(ingested_copy)):
        path.write_bytes(b"damaged")

    assert run(["verify", "--data", str(ingested_copy.root)]) == FAILURE

    told = capsys.readouterr().out
    assert "keys.json" in told and "jobs.sqlite" in told


def test_what_is_exported_is_imported_byte_for_byte(
    ingested_data_dir: DataDir, archive: Path, tmp_path: Path
) -> None:
    there = DataDir(tmp_path / "there")

    assert run(["import", str(archive), "--data", str(there.root)]) == 0

    assert files_of(there) == files_of(ingested_data_dir)
    with Catalog.open(there.catalog_path) as one, Catalog.open(ingested_data_dir.catalog_path) as other:
        assert list(one.records()) == list(other.records())


def test_an_import_never_overwrites_a_catalogue(
    archive: Path, ingested_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(ingested_copy)

    assert run(["import", str(archive), "--data", str(ingested_copy.root)]) == FAILURE
    assert "empty directory" in capsys.readouterr().err
    assert files_of(ingested_copy) == before


def test_a_flipped_byte_in_an_archive_is_found_and_nothing_is_imported(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.tar"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    broken.write_bytes(data)
    there = DataDir(tmp_path / "there")

    assert run(["import", str(broken), "--data", str(there.root)]) == FAILURE
    assert "damaged" in capsys.readouterr().err
    assert not there.catalog_path.exists()
    assert run(["import", str(archive), "--data", str(there.root)]) == 0


def test_a_truncated_archive_is_refused(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_bytes(archive.read_bytes()[: archive.stat().st_size // 3])

    assert run(["import", str(broken), "--data", str(tmp_path / "there")]) == FAILURE
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100])
def test_what_is_no_archive_is_refused(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(content)

    assert run(["import", str(other), "--data", str(tmp_path / "there")]) == FAILURE

    told = capsys.readouterr().err
    assert str(other) in told
    assert "fault in imsage" not in told


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "features/../../outside", "imsage.lock", "x"])
def test_an_archive_cannot_write_outside_of_the_data_directory(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = tmp_path / "hostile.tar"
    listing = {"format": 1, "files": {name: {"size": 0, "sha256": "0" * 64}}}
    with tarfile.open(hostile, "w") as archive:
        for member, data in (("imsage-archive.json", json.dumps(listing).encode()), (name, b"")):
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))

    assert run(["import", str(hostile), "--data", str(tmp_path / "there")]) == FAILURE
    assert "not allowed" in capsys.readouterr().err
    assert not list(tmp_path.rglob("outside"))


class Killed(BaseException):
    """Ends an import in the middle, as a kill does."""


def import_until(move: int, archive: Path, there: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports, and is killed when so many names have been changed in the data directory."""
    changes = iter(range(1, 1 + move))

    def until_killed(folder: Path) -> None:
        if folder == there.root and next(changes, move) == move:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(archive_module, "fsync_dir", until_killed)
        import_archive(archive, there, SilentProgress())


@pytest.mark.parametrize("move", [1, 2, 3, 4])
def test_an_interrupted_import_is_taken_up_again(
    move: int, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = DataDir(tmp_path / "there")
    import_until(move, archive, there, monkeypatch)

    assert run(["import", str(archive), "--data", str(there.root)]) == 0
    assert run(["verify", "--data", str(there.root)]) == 0
    assert [path.name for path in there.root.glob(".*")] == []


def test_an_interrupted_import_does_not_overwrite_a_catalogue_that_was_made_since(
    archive: Path,
    ingested_copy: DataDir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = DataDir(tmp_path / "there")
    import_until(2, archive, there, monkeypatch)
    shutil.copy(ingested_copy.catalog_path, there.catalog_path)
    before = files_of(there), there.catalog_path.read_bytes()

    assert run(["import", str(archive), "--data", str(there.root)]) == FAILURE
    assert "was made after an import into it was cut short" in capsys.readouterr().err
    assert (files_of(there), there.catalog_path.read_bytes()) == before


def test_the_arrays_of_a_training_that_was_killed_are_not_exported(
    ingested_copy: DataDir, tmp_path: Path
) -> None:
    left = ingested_copy.models_dir / "hash" / ".vectors.tmp" / "features.npy"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"gigabytes")

    assert run(["export", str(tmp_path / "all.tar"), "--data", str(ingested_copy.root)]) == 0
    with tarfile.open(tmp_path / "all.tar") as written:
        assert not [name for name in written.getnames() if "vectors.tmp" in name]


def test_an_interrupted_import_does_not_go_on_with_another_archive(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, there = DataDir(tmp_path / "first"), DataDir(tmp_path / "there")
    other = tmp_path / "other.tar"
    import_archive(archive, first, SilentProgress())
    next(first.blobs_dir.rglob("*.webp")).unlink()
    assert run(["export", str(other), "--data", str(first.root)]) == 0
    import_until(2, archive, there, monkeypatch)
    capsys.readouterr()

    assert run(["import", str(other), "--data", str(there.root)]) == FAILURE
    assert "another archive" in capsys.readouterr().err


def test_what_an_import_was_unpacking_when_it_was_killed_lets_none_overwrite_a_catalogue(
    archive: Path, ingested_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    (ingested_copy.root / ".import-tmp").mkdir()
    before = files_of(ingested_copy)

    assert run(["import", str(archive), "--data", str(ingested_copy.root)]) == FAILURE
    assert "already holds a catalogue" in capsys.readouterr().err
    assert files_of(ingested_copy) == before


def test_the_log_of_a_catalogue_that_was_taken_away_is_not_replayed_into_the_imported_one(
    archive: Path, tmp_path: Path
) -> None:
    there = DataDir(tmp_path)
    stale = [
        tmp_path / f"{name}{ending}"
        for name in ("catalog.sqlite", "jobs.sqlite")
        for ending in ("-wal", "-shm")
    ]
    for path in stale:
        path.write_bytes(b"stale")

    import_archive(archive, there, SilentProgress())

    assert [path for path in stale if path.exists()] == []


def test_the_history_of_jobs_keeps_its_log_through_an_import(archive: Path, tmp_path: Path) -> None:
    kept = [tmp_path / "jobs.sqlite", tmp_path / "jobs.sqlite-wal"]
    for path in kept:
        path.write_bytes(b"kept")

    import_archive(archive, DataDir(tmp_path), SilentProgress())

    assert [path.read_bytes() for path in kept] == [b"kept", b"kept"]


def test_every_file_is_on_the_disk_before_an_import_puts_it_into_place(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = DataDir(tmp_path / "there")
    synced: set[str] = set()
    aside = there.root / ".import-tmp"
    monkeypatch.setattr(
        archive_module, "fsync_file", lambda path: synced.add(path.relative_to(aside).as_posix())
    )

    import_archive(archive, there, SilentProgress())

    assert synced - {LISTING} == {*files_of(there), "catalog.sqlite"}


def test_an_archive_is_on_the_disk_before_it_gets_its_name(
    ingested_data_dir: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "backup.tar"
    there_before: list[bool] = []
    monkeypatch.setattr(archive_module, "fsync_file", lambda _: there_before.append(file.exists()))

    export_archive(ingested_data_dir, file, SilentProgress())

    assert there_before == [False]


def test_what_a_killed_export_left_is_removed_by_the_next(ingested_data_dir: DataDir, tmp_path: Path) -> None:
    left = tmp_path / ".backup.tar.export-tmp"
    left.mkdir()
    (left / "archive.tar").write_bytes(b"half")

    export_archive(ingested_data_dir, tmp_path / "backup.tar", SilentProgress())

    assert [path.name for path in tmp_path.iterdir()] == ["backup.tar"]


def test_a_running_export_shows_nothing_but_a_hidden_name(
    ingested_data_dir: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        archive_module, "fsync_file", lambda _: seen.extend(path.name for path in tmp_path.iterdir())
    )

    export_archive(ingested_data_dir, tmp_path / "backup.tar", SilentProgress())

    assert seen == [".backup.tar.export-tmp"]


def test_a_built_catalogue_answers_after_the_journey(
    built_data_dir: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, there = tmp_path / "built.tar", DataDir(tmp_path / "there")
    question = ["search", "--tag", "red", "--data"]

    assert run(["export", str(archive), "--data", str(built_data_dir.root)]) == 0
    assert run(["import", str(archive), "--data", str(there.root)]) == 0
    assert run(["verify", "--data", str(there.root)]) == 0
    capsys.readouterr()

    assert run([*question, str(built_data_dir.root)]) == 0
    here = capsys.readouterr().out
    assert run([*question, str(there.root)]) == 0
    assert capsys.readouterr().out == here


def test_info_says_in_words_what_model_answers(
    built_data_dir: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", "--data", str(built_data_dir.root)]) == 0
    assert "default: 2 layers" in capsys.readouterr().out


def test_info_says_how_many_tags_pictures_lack_where_they_lack_some(
    built_data_dir: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = describe(built_data_dir)
    assert summary.snapshot is not None
    metrics = {**summary.snapshot["model"]["metrics"], "completeness": 0.54}
    holey = {**summary.snapshot, "model": {**summary.snapshot["model"], "metrics": metrics}}
    Console(width=200).print(replace(summary, snapshot=holey).table())
    assert "pictures have about 54% of those they should" in capsys.readouterr().out


def test_info_says_what_is_served(built_data_dir: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--json", "--data", str(built_data_dir.root)]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["presets"] == ["default"]
    assert told["snapshot"]["version"] in told["snapshots_kept"]
    assert told["snapshot"]["counts"]["images"] == told["images"] - told["held_out"]


def test_a_flipped_byte_in_a_snapshot_is_named_by_verify_and_never_searched(
    built_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    index = next(built_copy.snapshots_dir.rglob("index.faiss"))
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 1
    index.write_bytes(data)

    assert run(["verify", "--data", str(built_copy.root)]) == FAILURE
    assert str(index) in capsys.readouterr().out
    assert run(["search", "--tag", "red", "--data", str(built_copy.root)]) == FAILURE
    assert str(index) in capsys.readouterr().err
    assert run(["export", str(index.with_suffix(".tar")), "--data", str(built_copy.root)]) == FAILURE
