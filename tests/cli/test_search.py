"""`imsage search` on a built catalogue: answers, both ends of the slider, and the contact sheet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

import app.lookup
import gnn.encoders.lazy
from app.api.application import create_app
from app.cli import run
from app.cli.errors import FAILURE
from app.settings import Settings
from graph_store.data_dir import DataDir
from imsage import Client
from tests.api.listening import listening
from tests.api.test_missing_encoder import with_other_weights
from tests.shapes import all_shapes, is_test

INDEXED = next(shape for shape in all_shapes() if not is_test(shape.id) and shape.size == "large")
HELD_OUT = next(shape for shape in all_shapes() if is_test(shape.id))
ROW = re.compile(r"│ +(\d+) │ (\S+) +│ +(-?[\d.]+) │ +(-?[\d.]+) │ +(-?[\d.]+) │")


def search(data_dir: DataDir, *options: str) -> int:
    return run(["search", "--data", str(data_dir.root), *options])


def rows(told: str) -> list[tuple[str, float, float, float]]:
    """(id, score, visual, conceptual) of every line of the table."""
    return [(m[2], float(m[3]), float(m[4]), float(m[5])) for m in ROW.finditer(told)]


def picture(shapes_source: Path, image_id: str) -> str:
    return str(shapes_source.parent / "images" / f"{image_id}.png")


def test_results_come_best_first_and_their_score_is_the_sum_of_its_parts(
    built_data_dir: DataDir, shapes_source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(built_data_dir, "--image", picture(shapes_source, HELD_OUT.id), "-k", "7") == 0

    found = rows(capsys.readouterr().out)
    assert len(found) == 7
    assert [score for _, score, _, _ in found] == sorted((score for _, score, _, _ in found), reverse=True)
    for _, score, visual, conceptual in found:
        assert score == pytest.approx(visual + conceptual, abs=2e-4)


def test_an_image_of_the_index_is_not_its_own_answer(
    built_data_dir: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(built_data_dir, "--image-id", INDEXED.id, "-k", "50") == 0

    found = [image_id for image_id, *_ in rows(capsys.readouterr().out)]
    assert len(found) == 50
    assert INDEXED.id not in found


def test_a_held_out_image_can_be_asked_by_its_id_and_is_never_an_answer(
    built_data_dir: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(built_data_dir, "--image-id", HELD_OUT.id, "-k", "200") == 0

    found = [image_id for image_id, *_ in rows(capsys.readouterr().out)]
    assert not [image_id for image_id in found if is_test(image_id)]


@pytest.mark.parametrize(("weight", "part"), [("1", 3), ("0", 2)])
def test_at_an_end_of_the_slider_the_other_part_is_zero(
    weight: str, part: int, built_data_dir: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(built_data_dir, "--image-id", INDEXED.id, "--visual-weight", weight) == 0

    assert {row[part] for row in rows(capsys.readouterr().out)} == {0.0}


def test_tags_and_words_are_answered_without_a_picture(
    built_data_dir: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(built_data_dir, "--tag", "red", "--visual-weight", "0", "-k", "10") == 0
    by_tag = [image_id for image_id, *_ in rows(capsys.readouterr().out)]
    assert sum("red" in image_id for image_id in by_tag) >= 5

    assert search(built_data_dir, "--text", "a crimson disc", "-k", "10") == 0
    assert len(rows(capsys.readouterr().out)) == 10


def test_an_unknown_id_is_one_line(built_data_dir: DataDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(built_data_dir, "--image-id", "nobody") == FAILURE
    assert "nobody" in capsys.readouterr().err


def test_a_file_that_is_no_picture_is_one_line(
    built_data_dir: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notes.jpg"
    file.write_text("not a picture")

    assert search(built_data_dir, "--image", str(file)) == FAILURE
    told = capsys.readouterr().err
    assert "fault in imsage" not in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("asked", ["picture", "words"])
def test_an_encoder_with_other_weights_is_one_line(
    built_data_dir: DataDir,
    shapes_source: Path,
    asked: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module, name in ((app.lookup, "image_encoder"), (gnn.encoders.lazy, "text_encoder")):
        monkeypatch.setattr(module, name, with_other_weights(getattr(module, name)))
    options = {"picture": ("--image", picture(shapes_source, HELD_OUT.id)), "words": ("--tag", "scarlet")}

    assert search(built_data_dir, *options[asked]) == FAILURE
    told = capsys.readouterr().err
    assert "weights_sha256" in told and "Use the recorded encoder" in told
    assert told.count("\n") == 1


def test_the_sheet_has_a_row_for_each_query_and_a_column_for_each_stop(
    built_data_dir: DataDir, shapes_source: Path, tmp_path: Path
) -> None:
    pictures = [picture(shapes_source, shape.id) for shape in all_shapes() if is_test(shape.id)]
    one, many = tmp_path / "one.png", tmp_path / "deep" / "many.png"

    assert search(built_data_dir, "--image", pictures[0], "--sheet", str(one), "--stops", "0.5") == 0
    options = [option for path in pictures[:2] for option in ("--image", path)]
    assert search(built_data_dir, *options, "--tag", "red", "--sheet", str(many)) == 0

    with Image.open(one) as narrow, Image.open(many) as wide:
        assert wide.width > 2 * narrow.width
        assert wide.height > 1.5 * narrow.height


def test_what_was_stored_or_removed_since_the_reindex_is_known(
    built_copy: DataDir, shapes_source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(picture(shapes_source, INDEXED.id))
    assert search(built_copy, "--image-id", INDEXED.id, "-k", "1") == 0
    gone = rows(capsys.readouterr().out)[0][0]
    with listening(create_app(Settings(data=built_copy.root))) as address, Client(address) as client:
        client.upsert([{"id": "copy", "image": copy, "tags": [*INDEXED.tags, "news"]}])
        client.delete([gone])
        served = client.search(image=INDEXED.id, limit=5)

    assert search(built_copy, "--image-id", INDEXED.id, "-k", "5") == 0
    found = rows(capsys.readouterr().out)
    assert [image_id for image_id, *_ in found] == [hit.id for hit in served.hits]
    assert found[0][0] == "copy" and gone not in [image_id for image_id, *_ in found]

    assert search(built_copy, "--image-id", "copy", "-k", "1") == 0
    assert rows(capsys.readouterr().out)[0][0] == INDEXED.id
    assert search(built_copy, "--image-id", gone) == FAILURE


def test_without_a_text_encoder_what_was_stored_or_removed_under_new_tags_is_known(
    built_copy: DataDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(built_copy, "--tag", "red", "-k", "2") == 0
    gone, changed = (image_id for image_id, *_ in rows(capsys.readouterr().out))

    def lost() -> Path:
        raise FileNotFoundError("there are no weights")

    monkeypatch.setattr("gnn.encoders.minilm.model_dir", lost)
    with listening(create_app(Settings(data=built_copy.root))) as address, Client(address) as client:
        client.update(changed, tags=["red", "news"])
        client.delete([gone])
        served = client.search(tags=["red"], limit=5)

    capsys.readouterr()
    assert search(built_copy, "--tag", "red", "-k", "5") == 0
    told = capsys.readouterr()
    assert [image_id for image_id, *_ in rows(told.out)] == [hit.id for hit in served.hits]
    assert not told.err


def test_what_was_written_since_the_reindex_and_cannot_be_read_is_told(
    built_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    built_copy.catalog_path.write_text("no database")
    assert search(built_copy, "--tag", "red") == 0
    assert "imsage: what was written since the last reindex is left out: " in capsys.readouterr().err
