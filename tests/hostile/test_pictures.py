"""Every hostile picture through every door: used, or refused with a reason; nothing crashes or swells."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.cli import run
from app.cli.errors import FAILURE
from app.images import decode, thumbnail
from app.ingest.keywords import embedded_keywords
from app.ingest.pipeline import ingest
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput
from tests.api.conftest import serving
from tests.copies import copy_of
from tests.hostile.corpus import FORMATS, bad, either, everything, good

# Pillow warns of broken metadata; a service goes on after a warning, and this is what is tested here.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\..*")

ROOT = Path(__file__).parents[2]
MEBIBYTE = 2**20


def usable(data: bytes) -> bool:
    """Whether the decoder takes it. Anything but BadInput is a failure of the test."""
    try:
        decode(data)
    except BadInput as error:
        assert error.message and "\n" not in error.message
        return False
    return True


@pytest.fixture(scope="module")
def taken() -> dict[str, bool]:
    """Whether each picture is one, by name."""
    return {name: usable(data) for name, data in everything().items()}


def test_odd_pictures_are_used_and_bombs_and_scripts_are_refused(taken: dict[str, bool]) -> None:
    assert [name for name in good() if not taken[name]] == []
    assert [name for name in bad() if taken[name]] == []
    cut = [name for name in either() if name.startswith("cut at 5.") or name.startswith("cut at 50.")]
    assert len(cut) == 2 * len(FORMATS) and [name for name in cut if taken[name]] == []


def test_no_metadata_breaks_the_reading_of_keywords() -> None:
    found = {name: embedded_keywords(data) for name, data in everything().items()}
    assert {name for name, keywords in found.items() if keywords} <= {"long keyword.jpg"}


def test_thumbnails_carry_none_of_it() -> None:
    for name, data in good().items():
        small = thumbnail(decode(data).image)
        assert small[:4] == b"RIFF" and small[8:12] == b"WEBP", name
        assert b"script" not in small and b"ENTITY" not in small, name


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in a folder, under their names."""
    folder = tmp_path_factory.mktemp("hostile") / "pictures"
    folder.mkdir()
    for name, data in everything().items():
        (folder / name).write_bytes(data)
    return folder


def test_ingestion_stores_what_is_a_picture_and_names_all_else(
    files: Path, tmp_path: Path, taken: dict[str, bool]
) -> None:
    report = ingest(files, DataDir(tmp_path / "data"))

    assert report.seen == len(taken) == report.stored + len(report.skipped)
    assert {skip.item for skip in report.skipped} == {name for name, is_one in taken.items() if not is_one}
    assert all(skip.reason for skip in report.skipped)
    assert run(["verify", "--data", str(tmp_path / "data")]) == 0


@pytest.fixture(scope="module")
def client(built_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service on a copy of the drawn catalogue."""
    data = tmp_path_factory.mktemp("served") / "data"
    copy_of(built_data_dir.root, data)
    with serving(data) as started:
        yield started


def ask(client: TestClient, door: str, data: bytes) -> Any:
    """One picture through one door."""
    if door == "upload":
        return client.post(
            "/v1/search/upload", files={"image": ("a.png", data)}, data={"query": '{"limit": 1}'}
        )
    body = {"image": {"data": base64.b64encode(data).decode()}, "limit": 1}
    return client.post("/v1/search" if door == "search" else "/v1/tags/predict", json=body)


@pytest.mark.parametrize("door", ["upload", "search", "predict"])
def test_a_question_with_it_is_answered_or_refused(
    client: TestClient, taken: dict[str, bool], door: str
) -> None:
    wrong = {}
    for name, data in everything().items():
        status = ask(client, door, data).status_code
        if status != (200 if taken[name] else 422):
            wrong[name] = status
    assert wrong == {}


def test_an_upsert_of_all_stores_what_is_a_picture_and_names_all_else(
    client: TestClient, taken: dict[str, bool]
) -> None:
    images = [
        {"id": f"hostile/{name}", "image": {"data": base64.b64encode(data).decode()}}
        for name, data in everything().items()
    ]
    told = {}
    for start in range(0, len(images), 200):  # no call takes all of them
        answer = client.post("/v1/images", json={"images": images[start : start + 200]})
        assert answer.status_code == 200
        results = answer.json()["results"]
        told |= {result["id"].removeprefix("hostile/"): result["status"] for result in results}
    assert told == {name: "created" if is_one else "failed" for name, is_one in taken.items()}


def test_a_polyglot_is_sent_as_the_picture_that_it_is_and_may_run_nothing(client: TestClient) -> None:
    data = good()["gif and script.gif"]
    stored = {"id": "poly", "image": {"data": base64.b64encode(data).decode()}}
    assert client.post("/v1/images", json={"images": [stored]}).json()["created"] == 1
    sent = client.get("/v1/images/poly/file")
    assert sent.content == data
    assert sent.headers["content-type"] == "image/gif" and sent.headers["x-content-type-options"] == "nosniff"
    assert sent.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("name", ["bomb.png", "script.svg", "empty.png", "bomb.ico", "nearly.svg"])
def test_the_command_line_refuses_it_in_one_line(
    built_data_dir: DataDir, files: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(["search", "--data", str(built_data_dir.root), "--image", str(files / name)]) == FAILURE
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "fault in imsage" not in told


def test_the_command_line_uses_odd_pictures(built_data_dir: DataDir, files: Path) -> None:
    names = ("exif in a circle.jpg", "animated.webp", "16 bit grey.png", "gif and script.gif")
    images = [part for name in names for part in ("--image", str(files / name))]
    assert run(["search", "--data", str(built_data_dir.root), "-k", "1", *images]) == 0


def test_the_command_line_does_not_wait_for_a_pipe(
    built_data_dir: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.png")
    assert (
        run(["search", "--data", str(built_data_dir.root), "--image", str(tmp_path / "pipe.png")]) == FAILURE
    )
    assert "is not a file" in capsys.readouterr().err


LARGE = """
import json, resource, sys
from app.images import decode, thumbnail
from tests.hostile.corpus import FORMATS, webp_of_size
from tests.hostile.pictures import png_of_zeros

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def made(kind):
    if kind == "webp":
        return webp_of_size(8000, 8000)
    depth, colour = {"grey": (16, 0), "rgba": (8, 6)}[kind]
    return png_of_zeros(8000, 8000, depth=depth, colour=colour)

files = {kind: made(kind) for kind in sys.argv[1:]}
decode(png_of_zeros(64, 64))
told = {}
for kind, data in files.items():
    before = peak()
    thumbnail(decode(data, max_pixels=64_000_000).image)
    told[kind] = [len(data), peak() - before]
print(json.dumps(told))
"""


def test_the_largest_pictures_that_are_allowed_stay_under_the_cap_of_memory() -> None:
    """64 megapixels out of some kilobytes, in a process of its own, the hungriest last."""
    command = [sys.executable, "-c", LARGE, "grey", "rgba", "webp"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=True)
    told = json.loads(ran.stdout)

    assert all(size < MEBIBYTE for size, _ in told.values())
    assert told["grey"][1] < 400 * MEBIBYTE
    assert told["rgba"][1] < 400 * MEBIBYTE
    assert told["webp"][1] < 1300 * MEBIBYTE
