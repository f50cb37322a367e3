"""Every program and every curl line of docs/api.md is run against the service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.api.application import create_app
from app.keys import create_key
from app.settings import Settings
from graph_store.data_dir import DataDir
from imsage import Client
from tests.api.listening import listening
from tests.docs.curl import curl_call, curl_lines
from tests.docs.walking import SERVER_SHOWN, steps_of
from tests.shapes import all_shapes, draw, is_test, untagged_ids

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
INDEXED = [shape for shape in all_shapes() if not is_test(shape.id)]
OURS = {
    "beach/0042.jpg": INDEXED[0].id,
    "beach/0107.jpg": INDEXED[1].id,
    "beach/0111.jpg": INDEXED[3].id,
    "beach/0112.jpg": INDEXED[4].id,
    '"dog"': '"red"',
    '"cat"': '"blue"',
    '"do"': '"re"',
    "prefix=do": "prefix=re",
    '"year", "range": {"gte": 2019}': '"area", "range": {"gte": 0.05}',
}
"""What the page speaks of, and what the drawn catalogue has in its place."""


SHOWN_JOB = "000012-5f0a9c3e"
KEY_SHOWN = "$KEY"
# On a busy machine a reindex takes minutes.
JOBS_TAKE_LONG = pytest.mark.timeout(900)


@pytest.fixture
def address(built_copy: DataDir) -> Iterator[str]:
    """A service on a copy of the drawn catalogue: calls change it, and a job may run on at the end."""
    with listening(create_app(Settings(data=built_copy.root))) as address:
        yield address


def of_ours(text: str) -> str:
    for shown, ours in OURS.items():
        text = text.replace(shown, ours)
    return text


def test_a_picture_by_its_id_alone_is_answered_as_mixed_and_cannot_be_asked_as_mixed(address: str) -> None:
    (told,) = [line for line in PAGE.splitlines() if line.startswith("| `attach` |")]
    assert "With `auto` a picture of the index brings its own tags along" in told
    assert "answered as `mixed`" in told and "422 without" in told

    tagged = next(shape.id for shape in INDEXED if shape.id not in untagged_ids(all_shapes()))

    def asked(attach: str) -> httpx.Response:
        question = {"image": {"id": tagged}, "attach": attach}
        return httpx.post(f"{address}/v1/search", json=question)

    assert asked("auto").json()["attach"] == "mixed"
    assert asked("mixed").status_code == 422
    assert asked("image").json()["attach"] == "image"


@JOBS_TAKE_LONG
def test_every_program_runs(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", "imsage_none-is-needed-here")
    draw(INDEXED[2]).save("photo.jpg")
    programs = [step.program for step in steps_of("docs/api.md") if step.program]
    # As a reader types them in: each goes on with the names of those before.
    names: dict[str, object] = {"__name__": "__main__"}
    try:
        for program in programs:
            exec(of_ours(program).replace(SERVER_SHOWN, address), names)
    finally:
        client = names.get("client")
        assert isinstance(client, Client)
        client.close()

    told = capsys.readouterr().out
    assert len(programs) >= 7
    assert "422 urn:imsage:problem:invalid-request ['/visual_weight']" in told
    assert "succeeded" in told and "[20, 20]" in told and re.search(r"ok 00000\d-", told)
    assert names["likely"] and names["typed"] == ["red"] and names["alike"]
    assert "canceled" in told and names["resumed"]
    assert (tmp_path / "small.webp").read_bytes()[8:12] == b"WEBP"
    assert (tmp_path / "whole.jpg").read_bytes()


@JOBS_TAKE_LONG
def test_every_curl_line_is_a_call_that_succeeds(address: str, tmp_path: Path) -> None:
    draw(INDEXED[2]).save(tmp_path / "photo.jpg")
    job = SHOWN_JOB
    for line in curl_lines(PAGE):
        answer = curl_call(of_ours(line).replace(SHOWN_JOB, job)).send(address, tmp_path)
        assert answer.is_success, (line, answer.text)
        job = answer.headers.get("location", job).rpartition("/")[2]


def test_the_curl_lines_with_a_key_are_let_through_by_it_alone(built_copy: DataDir, tmp_path: Path) -> None:
    key = create_key(built_copy, "shop", "write")
    lines = [line for line in curl_lines(PAGE) if KEY_SHOWN in line]
    assert lines
    with listening(create_app(Settings(data=built_copy.root))) as address:
        for line in lines:
            assert curl_call(of_ours(line)).send(address, tmp_path).status_code == 401, line
            assert curl_call(of_ours(line).replace(KEY_SHOWN, key)).send(address, tmp_path).is_success, line
