"""docs/api.md names every call of the service, and none that it does not have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.api.application import create_app
from app.api.filter_schemas import Condition, Range
from app.api.schemas import SearchRequest
from app.cursor import MAX_DEPTH
from app.ranking import LEAST_POOL, MOST_POOL
from app.settings import Settings
from imsage import Client
from tests.docs.curl import curl_call, curl_lines
from tests.docs.walking import steps_of

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
SHOWN_IDS = r"beach/\d+\.jpg|\d{6}-[0-9a-f]{8}"
UNDOCUMENTED_IN_OPENAPI = {("GET", "/"), ("GET", "/jobs")}


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """(method, path) of every call, as OpenAPI has them."""
    schema = create_app(Settings(data=tmp_path_factory.mktemp("empty"))).openapi()
    return {
        (method.upper(), re.sub(r"\{\w+(:path)?\}", "{id}", path))
        for path, methods in schema["paths"].items()
        for method in methods
    }


def test_the_page_and_openapi_name_the_same_calls(calls: set[tuple[str, str]]) -> None:
    named = set(re.findall(r"^\| `(GET|POST|DELETE|PUT|PATCH) (/\S*)`", PAGE, flags=re.MULTILINE))

    assert named == calls | UNDOCUMENTED_IN_OPENAPI


def test_the_page_has_a_curl_line_for_every_call(calls: set[tuple[str, str]]) -> None:
    shown = [curl_call(line) for line in curl_lines(PAGE)]

    assert not calls - {(call.method, re.sub(SHOWN_IDS, "{id}", call.path)) for call in shown}


def test_the_page_shows_every_call_of_the_python_client() -> None:
    programs = "".join(step.program for step in steps_of("docs/api.md"))

    public = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert not {name for name in public if f"client.{name}(" not in programs}


def test_the_page_explains_every_field_of_a_question() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE))

    assert set(SearchRequest.model_fields) <= explained


@pytest.mark.parametrize("model", [Condition, Range])
def test_the_page_names_every_part_of_a_condition(model: type[Condition] | type[Range]) -> None:
    assert not [name for name in model.model_fields if f"`{name}`" not in PAGE and f'"{name}"' not in PAGE]


def test_the_page_and_openapi_say_where_pages_end() -> None:
    shown = SearchRequest.model_fields
    for limit, field in ((MAX_DEPTH, "cursor"), (LEAST_POOL, "diversity"), (MOST_POOL, "diversity")):
        assert f"{limit:,}" in PAGE and f"{limit:,}" in str(shown[field].description)
