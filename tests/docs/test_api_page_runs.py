"""Every program and every curl line of docs/api.md is run against the service."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.api.application import create_app
from app.settings import Settings
from graph_store.data_dir import DataDir
from imsage import Client
from tests.api.listening import listening
from tests.docs.walking import SERVER_SHOWN, steps_of
from tests.shapes import all_shapes, draw, is_test

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
INDEXED = [shape for shape in all_shapes() if not is_test(shape.id)]
OURS = {
    "beach/0042.jpg": INDEXED[0].id,
    "beach/0107.jpg": INDEXED[1].id,
    '"dog"': '"red"',
    '"cat"': '"blue"',
    '"do"': '"re"',
    '"year", "range": {"gte": 2019}': '"area", "range": {"gte": 0.05}',
}
"""What the page speaks of, and what the drawn catalogue has in its place."""


SHOWN_JOB = "000012-5f0a9c3e"


@pytest.fixture(scope="module")
def address(built_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service on a copy of the drawn catalogue: some of the calls change it."""
    data = tmp_path_factory.mktemp("api-page") / "data"
    shutil.copytree(built_data_dir.root, data)
    with listening(create_app(Settings(data=data))) as address:
        yield address


def of_ours(text: str) -> str:
    for shown, ours in OURS.items():
        text = text.replace(shown, ours)
    return text


def test_every_program_runs(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
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
    assert (tmp_path / "small.webp").read_bytes()[8:12] == b"WEBP"


def test_every_curl_line_is_a_call_that_succeeds(address: str) -> None:
    lines = re.findall(r"^curl .*?(?<!\\)$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(lines) >= 5
    job = SHOWN_JOB
    for line in lines:
        words = shlex.split(of_ours(line.replace("\\\n", " ")).replace(SHOWN_JOB, job))
        url = next(word for word in words if word.startswith("localhost:8000"))
        headers = dict(words[i + 1].split(": ") for i, word in enumerate(words) if word == "-H")
        data = words[words.index("-d") + 1] if "-d" in words else None
        method = words[words.index("-X") + 1] if "-X" in words else "GET" if data is None else "POST"
        answer = httpx.request(
            method, url.replace("localhost:8000", address), headers=headers, content=data, timeout=60
        )
        assert answer.is_success, (line, answer.text)
        job = answer.headers.get("location", job).rpartition("/")[2]
