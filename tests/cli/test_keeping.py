"""`imsage info`, `verify`, `export` and `import` on a real catalogue."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from app.cli import run
from app.cli.errors import FAILURE
from app.info import describe
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir


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


def test_an_interrupted_import_is_taken_up_again(archive: Path, tmp_path: Path) -> None:
    there = DataDir(tmp_path / "there")
    assert run(["import", str(archive), "--data", str(there.root)]) == 0
    (there.root / ".import-tmp").mkdir()  # as if it had been killed before its last step

    assert run(["import", str(archive), "--data", str(there.root)]) == 0
    assert run(["verify", "--data", str(there.root)]) == 0


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
