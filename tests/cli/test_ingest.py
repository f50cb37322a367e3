"""`imsage ingest`: what it says, and that it can be interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.catalogue_reader import CatalogueReader
from app.cli import run
from app.cli.errors import FAILURE, INTERRUPTED, USAGE
from app.images import PictureLimits
from app.ingest.report import IngestReport
from app.live.writer import CatalogueWriter
from graph_store.data_dir import DataDir
from graph_store.records import Tag
from tests.ingest.conftest import records, tags_of
from tests.ingest.test_keywords import jpeg_with_iptc
from tests.shapes import all_shapes, draw

TURNS = 5
"""How often all shapes are listed: seconds of work, so that an interruption finds some left."""


def test_it_counts_what_it_saw_and_names_what_it_skipped(
    shapes_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.loads(shapes_source.read_text().splitlines()[0])
    lines = [
        {"image": str(shapes_source.parent / good["image"]), "id": "good", "tags": ["red"]},
        {"image": "missing.png", "id": "gone", "tags": ["red"]},
    ]
    source = tmp_path / "tags.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert run(["ingest", str(source), "--data", str(tmp_path / "D")]) == 0

    told = capsys.readouterr()
    assert "2 seen = 1 stored + 0 unchanged + 1 skipped" in told.out
    assert f"skipped gone ({source}:2)" in told.out
    assert told.err == ""

    assert run(["info", "--skips", "--data", str(tmp_path / "D")]) == 0
    assert "gone" in capsys.readouterr().out


def test_where_nothing_can_be_used_the_counts_and_every_reason_come_before_the_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "tags.jsonl"
    source.write_text('{"image": "gone.png"}\n{"image": "lost.png"}\n')

    for command in ("ingest", "build"):
        assert run([command, str(source), "--data", str(tmp_path / "D")]) == FAILURE

        told = capsys.readouterr()
        assert "2 seen = 0 stored + 0 unchanged + 2 skipped" in told.out
        assert "skipped gone.png" in told.out and "skipped lost.png" in told.out
        assert told.err.count("\n") == 1 and "None of the 2 images" in told.err


def test_pictures_that_replace_those_of_another_source_are_told_with_one_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, shape in zip(("shoot1", "shoot2"), all_shapes(), strict=False):
        (tmp_path / folder).mkdir()
        draw(shape).save(tmp_path / folder / "IMG_0001.png")
        assert run(["ingest", str(tmp_path / folder), "--data", str(tmp_path / "D")]) == 0

    first, second = capsys.readouterr().out.splitlines()
    assert first == "Ingested: 1 seen = 1 stored + 0 unchanged + 0 skipped"
    assert second.startswith(f"{first}; 1 replaced the picture of another file")
    assert str(tmp_path / "shoot1" / "IMG_0001.png") in second and "a folder above both" in second


def test_a_folder_that_is_read_by_its_list_is_told_with_the_number_of_pictures_not_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, shape in zip(("a.png", "b.png", "c.png"), all_shapes(), strict=False):
        draw(shape).save(tmp_path / name)
    (tmp_path / "tags.jsonl").write_text('{"image": "a.png"}\n')
    data = ["--data", str(tmp_path / "D")]

    assert run(["ingest", str(tmp_path), *data]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Ingested: 1 seen = 1 stored + 0 unchanged + 0 skipped",
        f"  read: what {tmp_path}/tags.jsonl lists; 2 picture files of the folder are not in it"
        " (--format folder reads every file)",
    ]

    assert run(["ingest", str(tmp_path / "tags.jsonl"), *data]) == 0
    assert "read:" not in capsys.readouterr().out


def test_what_was_edited_and_removed_over_http_and_comes_from_the_source_again_is_told_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir, source = DataDir(tmp_path / "D"), tmp_path / "list.jsonl"
    for name, shape in zip(("a.png", "b.png"), all_shapes(), strict=False):
        draw(shape).save(tmp_path / name)
    command = ["ingest", str(source), "--data", str(data_dir.root)]
    source.write_text('{"image": "a.png"}\n{"image": "b.png"}\n')
    assert run(command) == 0
    server = CatalogueWriter(data_dir, CatalogueReader(data_dir))
    server.describe("a.png", (Tag("edited"),), dict)
    server.delete(["b.png"])
    source.write_text('{"image": "a.png", "year": 2020}\n{"image": "b.png"}\n')

    assert run(command) == 0

    told = capsys.readouterr().out.splitlines()[1]
    assert "; 1 had been edited over HTTP, as a.png (the source has changed since" in told
    assert "; 1 had been removed over HTTP and are stored again, as b.png is (the source still has" in told


def test_what_is_gone_from_the_source_is_told_with_one_name_and_pruned_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name, shape in zip(("a.png", "b.png"), all_shapes(), strict=False):
        draw(shape).save(source / name)
    command = ["ingest", str(source), "--data", str(tmp_path / "D")]
    assert run(command) == 0
    (source / "a.png").unlink()
    for options in ([], ["--prune"], []):
        assert run([*command, *options]) == 0

    lines = capsys.readouterr().out.splitlines()
    counts = "Ingested: 1 seen = 0 stored + 1 unchanged + 0 skipped"
    assert lines[1:] == [
        f"{counts}; 1 are gone from the source, as a.png is (stay in the catalogue; --prune removes them)",
        f"{counts}; 1 are gone from the source, as a.png is (were removed)",
        counts,
    ]


def test_settings_that_allow_larger_pictures_hold_for_ingestion_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[PictureLimits] = []

    def noted(*_: object, limits: PictureLimits, **more: object) -> IngestReport:
        asked.append(limits)
        return IngestReport(0, 0, 0)

    monkeypatch.setattr("app.ingest.pipeline.ingest", noted)
    for pixels in ("5000", "500000000"):
        monkeypatch.setenv("IMSAGE_MAX_IMAGE_PIXELS", pixels)
        assert run(["ingest", str(tmp_path), "--data", str(tmp_path / "D")]) == 0
    assert asked == [PictureLimits(), PictureLimits(max_pixels=500_000_000)]


def test_a_picture_that_lost_a_tag_is_listed_and_not_counted_as_skipped(
    shapes_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.loads(shapes_source.read_text().splitlines()[0])
    source = tmp_path / "tags.jsonl"
    image = str(shapes_source.parent / good["image"])
    source.write_text(json.dumps({"image": image, "id": "good", "tags": ["red", "x" * 301]}) + "\n")
    data = ["--data", str(tmp_path / "D")]
    assert run(["ingest", str(source), *data]) == 0
    assert "0 skipped" in capsys.readouterr().out

    assert run(["info", "--json", *data]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 0
    assert run(["info", "--skips", *data]) == 0
    assert "a tag was left out" in capsys.readouterr().out


def test_an_engine_that_is_not_there_is_said_in_one_line(
    shapes_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for command in ("ingest", "build"):
        asked = [command, str(shapes_source), "--data", str(tmp_path / command), "--engine"]
        assert run([*asked, "ray"]) == FAILURE
        told = capsys.readouterr().err
        assert told.count("\n") == 1 and 'pip install -e ".[ray]"' in told
        assert run([*asked, "other"]) == USAGE
        assert "other is not an engine" in capsys.readouterr().err


def test_a_coco_file_is_ingested_with_the_pictures_of_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    names = ["one.jpg", "two.jpg"]
    for name, shape in zip(names, all_shapes(), strict=False):
        draw(shape).save(pictures / name)
    listed = [{"id": number, "file_name": name} for number, name in enumerate([*names, "gone.jpg"], 7)]
    dog = {"image_id": 7, "category_id": 18}
    objects = {"images": listed, "categories": [{"id": 18, "name": "dog"}], "annotations": [dog, dog]}
    captions = {"images": listed, "annotations": [{"image_id": 8, "caption": "Two of them."}]}
    (tmp_path / "instances_x.json").write_text(json.dumps(objects))
    (tmp_path / "captions_x.json").write_text(json.dumps(captions))
    data_dir = DataDir(tmp_path / "D")

    source = str(tmp_path / "instances_x.json")
    assert run(["ingest", source, "--images", str(pictures), "--data", str(data_dir.root)]) == 0

    assert "3 seen = 2 stored + 0 unchanged + 1 skipped" in capsys.readouterr().out
    stored = records(data_dir)
    assert tags_of(stored["one.jpg"]) == ["dog"] and tags_of(stored["two.jpg"]) == []
    assert stored["one.jpg"].attributes == {"coco_id": 7, "counts": {"dog": 2}}
    assert stored["two.jpg"].caption == "Two of them."
    assert stored["one.jpg"].path == str(pictures / "one.jpg")


def test_keywords_inside_the_pictures_of_a_folder_become_tags(tmp_path: Path) -> None:
    folder = tmp_path / "coast"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(jpeg_with_iptc((2, 25, b"harbour"), (2, 25, "Möwe".encode())))
    data_dir = DataDir(tmp_path / "D")

    assert run(["ingest", str(folder), "--data", str(data_dir.root)]) == 0

    assert set(tags_of(records(data_dir)["1.jpg"])) >= {"harbour", "Möwe"}


def test_strict_stops_at_the_first_bad_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "tags.jsonl"
    source.write_text('{"image": "missing.png"}\n')

    assert run(["ingest", str(source), "--data", str(tmp_path / "D"), "--strict"]) == FAILURE
    assert "missing.png" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--encoder", "clever"), ("--format", "xml")])
def test_an_unknown_encoder_or_format_is_a_usage_error_that_lists_the_known(
    option: str, value: str, shapes_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ingest", str(shapes_source), "--data", str(tmp_path / "D"), option, value]) == USAGE

    told = capsys.readouterr().err
    assert value in told
    assert "Known" in told


def test_a_second_writer_is_told_who_is_at_work(
    shapes_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DataDir(tmp_path).lock("reindex"):
        assert run(["ingest", str(shapes_source), "--data", str(tmp_path)]) == FAILURE

    assert "(reindex)" in capsys.readouterr().err


def test_an_interrupted_ingest_says_so_and_goes_on(shapes_source: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in shapes_source.read_text().splitlines()]
    source = tmp_path / "tags.jsonl"
    with source.open("w") as file:
        for turn in range(TURNS):
            for row in rows:
                image = str(shapes_source.parent / row["image"])
                file.write(
                    json.dumps({"image": image, "id": f"{row['id']}-{turn}", "tags": row["tags"]}) + "\n"
                )
    data_dir = DataDir(tmp_path / "D")
    command = [sys.executable, "-m", "app", "ingest", str(source), "--data", str(data_dir.root)]
    root = Path(__file__).parents[2]

    # A test run in a shell's background has SIGINT ignored, and its children would inherit that.
    process = subprocess.Popen(
        command,
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not any(data_dir.features_dir.glob("*.f32")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)

    assert process.returncode == INTERRUPTED, told
    assert told.splitlines()[-1].startswith("imsage: interrupted")
    again = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=120)
    assert again.returncode == 0, again.stderr
    assert f"{TURNS * len(rows):,} seen" in again.stdout
    assert "0 skipped" in again.stdout
