"""Ids, tags and file names as an attacker would choose them: never a path, never a command to a terminal."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from app.api.problems import problem_bytes
from app.cli import run
from app.ingest.pipeline import ingest
from app.live.new_pictures import read_below
from app.request_errors import UnusablePicture
from app.terminal_text import printable
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.records import Tag
from tests.api.conftest import serving
from tests.copies import copy_of
from tests.hostile.corpus import noise, saved
from tests.hostile.fuzzing import fuzzing

PICTURE = saved(noise(size=(16, 16)), "PNG")
IDS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "/",
    "//",
    "a/../../b",
    "C:\\Windows\\win.ini",
    "\\\\server\\share",
    "CON",
    "aux.png",
    "\x1b]0;pwned\x07",
    "\u202egnp.exe",
    "-rf",
    "~root",
    "$(id)",
    "`id`",
    "a?b#c",
    "x" * 2000,
    "ü\u0301",
    "\ufeff",
    "file:///etc/passwd",
    "catalog.sqlite",
    "CURRENT",
]


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def data(built_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of `client`, in a folder of its own."""
    root = tmp_path_factory.mktemp("named") / "in" / "data"
    copy_of(built_data_dir.root, root)
    return root


@pytest.fixture(scope="module")
def client(data: Path) -> Iterator[TestClient]:
    with serving(data) as started:
        yield started


def test_no_id_becomes_a_path(client: TestClient, data: Path) -> None:
    around = files_below(data.parents[1]) - {f"in/data/{name}" for name in files_below(data)}
    body = {"data": base64.b64encode(PICTURE).decode()}
    images = [{"id": image_id, "image": body} for image_id in IDS]
    told = client.post("/v1/images", json={"images": images}).json()
    assert told["created"] == len(IDS)
    digests = {path.stem for path in (data / "blobs").rglob("*") if path.is_file()}
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in digests)
    for image_id in IDS:
        place = "/v1/images/" + quote(image_id, safe="").replace(".", "%2E")
        described = client.get(place)
        assert described.status_code == 200 and described.json()["id"] == image_id
        assert client.get(f"{place}/file").content == PICTURE
        assert client.get(f"{place}/thumbnail").headers["content-type"] == "image/webp"
    gone = client.post("/v1/images/delete", json={"ids": IDS}).json()
    assert gone["deleted"] == len(IDS)
    now = files_below(data.parents[1]) - {f"in/data/{name}" for name in files_below(data)}
    assert now == around and (data / "catalog.sqlite").exists() and (data / "CURRENT").exists()


@pytest.mark.parametrize("image_id", ["", " ", "\n", "a\0b", "\ud800", "x" * 2001])
def test_an_id_that_cannot_be_kept_is_refused(client: TestClient, image_id: str) -> None:
    body = {"data": base64.b64encode(PICTURE).decode()}
    text = b'{"images": [{"id": %s, "image": {"data": "%s"}}]}' % (
        json.dumps(image_id).encode(),
        body["data"].encode(),
    )
    refused = client.post("/v1/images", content=text, headers={"content-type": "application/json"})
    assert refused.status_code == 422


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for upserts, with secrets beside it and links to them inside."""
    root = tmp_path_factory.mktemp("upserts")
    (root / "secret.png").write_bytes(b"secret")
    inside = root / "in"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "open.png").write_bytes(b"open")
    (inside / "link.png").symlink_to(root / "secret.png")
    (inside / "up").symlink_to(root)
    (inside / "round").symlink_to(inside / "round")
    os.mkfifo(inside / "pipe")
    return inside


STEPS = [
    "..",
    ".",
    "",
    "deep",
    "up",
    "link.png",
    "open.png",
    "secret.png",
    "round",
    "pipe",
    "\0",
    "~",
    "\\",
    "in",
]


@fuzzing(300)
@given(st.lists(st.sampled_from(STEPS) | st.text(max_size=3), max_size=7), st.booleans())
def test_no_path_of_an_upsert_leads_out_of_its_folder(folder: Path, steps: list[str], absolute: bool) -> None:
    wanted = ("/" if absolute else "") + "/".join(steps)
    try:
        found = read_below(folder, wanted, 100)
    except UnusablePicture as error:
        assert error.message == f"There is no file {wanted[:200]!r} in the folder for upserts"
    else:
        assert found.data == b"open"


def test_a_folder_of_pictures_with_odd_names_is_taken_in_and_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "pictures"
    source.mkdir()
    names = [
        "\x1b[31mred.png",
        "[red].png",
        ":smile:.png",
        "a\nb.png",
        "\u202egnp.png",
        "-x.png",
        "$(id).png",
    ]
    for name in names:
        (source / name).write_bytes(PICTURE)
    (source / os.fsdecode(b"\xff\xfe.png")).write_bytes(PICTURE)
    (source / "\x1b]0;pwned\x07.png").write_bytes(b"no picture")
    data_dir = DataDir(tmp_path / "data")

    assert run(["ingest", str(source), "--data", str(data_dir.root)]) == 0
    assert run(["info", "--skips", "--data", str(data_dir.root)]) == 0
    told = "".join(capsys.readouterr())
    assert "\x1b]" not in told and "\x07" not in told and "\\x1b]0;pwned" in told
    with Catalog.open(data_dir.catalog_path) as catalog:
        assert set(names) <= {record.id for record in catalog.records()}


def test_tags_and_ids_reach_the_terminal_as_text(
    built_copy: DataDir, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = tuple(Tag(name) for name in ("\x1b]0;pwned\x07", "[/b]", "[red]x", ":smile:", "\x9b31m"))
    with Catalog.open(built_copy.catalog_path) as catalog:
        catalog.upsert([replace(record, tags=tags) for record in list(catalog.records())])

    assert run(["search", "--tag", "red", "--text", "[/i]", "-k", "3", "--data", str(built_copy.root)]) == 0

    told = capsys.readouterr().out
    assert "\x1b]" not in told and "\x07" not in told and "\x9b" not in told
    shown = "".join(told.split())
    assert all(word in shown for word in ("\\x1b]0;pwned\\x07", "[/b]", "[red]x", ":smile:", "[/i]"))


@given(st.text())
def test_what_is_printable_has_no_control_characters(text: str) -> None:
    shown = printable(text)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    assert shown == text or any(not character.isprintable() for character in text)


def test_a_problem_holds_what_was_asked_as_text_in_json() -> None:
    body = problem_bytes("/v1/\x1b[31m\ud800", "bad-input", 422, "<script>\n")
    assert b"\x1b" not in body and b"\n" not in body


def test_ingesting_twice_does_not_mistake_one_odd_name_for_another(tmp_path: Path) -> None:
    source = tmp_path / "pictures"
    source.mkdir()
    for name in ("a.png", "A.png", "ä.png", "a\u0308.png", "a .png"):
        (source / name).write_bytes(PICTURE)
    first = ingest(source, DataDir(tmp_path / "data"))
    again = ingest(source, DataDir(tmp_path / "data"))
    assert (first.stored, again.stored, again.unchanged) == (5, 0, 5)
