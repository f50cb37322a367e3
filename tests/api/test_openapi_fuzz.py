"""The whole OpenAPI description, fuzzed: no undocumented status, no 5xx, every answer as described.

Every call that the description has is tested, so a new one is covered as soon as it is there. The requests
are made out of the description, good ones and bad ones, the same at every run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis
from schemathesis.config import SchemathesisConfig

from app.api.application import create_app
from app.settings import Settings
from graph_store.data_dir import DataDir
from tests.api.listening import listening
from tests.copies import copy_of
from tests.shapes import all_shapes, is_test

REFUSED = ("410", "422")
CONFIG = SchemathesisConfig.from_dict(
    {
        "seed": 1,
        "generation": {"max-examples": 25, "deterministic": True, "mode": "all"},
        # Good requests may be refused for what no schema tells; `refused_for_a_reason` below is stricter.
        "checks": {
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "304", "401", "403", "404", "409", "429", *REFUSED]
            }
        },
    }
)
BEYOND_SCHEMAS = {"bad-input", "cursor-gone", "empty-query", "idempotency-key-reused"}
"""Kinds of refusal that the picture, the snapshot, the numbers of a question or an earlier request decide."""
UNTOLD_BY_SCHEMAS = ("/cursor", "/data", "#form/image")
"""Ends of pointers to what a schema calls a string, but must be a cursor, base64 or a picture."""


def description_of_the_drawn_catalogue() -> dict[str, Any]:
    """The description, with a picture and a tag in its examples that are there to be found."""
    schema = json.dumps(create_app(Settings(data=Path("nowhere"))).openapi())
    indexed = next(shape for shape in all_shapes() if not is_test(shape.id))
    described: dict[str, Any] = json.loads(
        schema.replace("beach/0042.jpg", indexed.id).replace('"dog"', f'"{indexed.colour}"')
    )
    return described


DESCRIPTION = description_of_the_drawn_catalogue()
DESCRIBED = schemathesis.openapi.from_dict(DESCRIPTION, config=CONFIG)


@pytest.fixture(scope="module")
def address(built_data_dir: DataDir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service on a copy of the drawn catalogue: some of the calls write."""
    data = tmp_path_factory.mktemp("fuzzed") / "data"
    copy_of(built_data_dir.root, data)
    with pytest.MonkeyPatch.context() as patch:
        # What answers is tested, not the work: a job is a process that is there for a while and says nothing.
        patch.setattr("app.jobs.runner.command", lambda *_: ["sleep", "0.5"])
        with listening(create_app(Settings(data=data, snapshot_poll_seconds=0.05))) as address:
            yield address


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One connection for all requests."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def _is_file(part: Any) -> bool:
    # The generator has classes of its own for these, one of which is a kind of string.
    return type(part) not in (dict, list, str)


def body_is_as_described(case: schemathesis.Case) -> bool:
    """Whether a body that was meant to be good is: inside a form the generator overlooks `if` and `then`."""
    call = DESCRIPTION["paths"][case.operation.path][case.operation.method]
    if "requestBody" not in call:
        return True
    schema = call["requestBody"]["content"][case.media_type]["schema"]
    body: Any = case.body
    if isinstance(body, dict):
        body = {name: "" if _is_file(part) else part for name, part in body.items()}
    return jsonschema_rs.is_valid({**schema, "components": DESCRIPTION["components"]}, body)


def refused_for_a_reason(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """A request that the description allows is refused only for what no description can tell."""
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or str(response.status_code) not in REFUSED:
        return
    if not body_is_as_described(case):
        return
    problem = response.json()
    kind = problem["type"].rpartition(":")[2]
    pointers = [error["pointer"] for error in problem["errors"]]
    told = kind in BEYOND_SCHEMAS or (
        pointers and all(pointer.endswith(UNTOLD_BY_SCHEMAS) for pointer in pointers)
    )
    assert told, f"a request that OpenAPI allows was refused: {problem}"


@DESCRIBED.parametrize()
def test_the_service_does_what_openapi_says(
    case: schemathesis.Case, address: str, session: requests.Session
) -> None:
    case.call_and_validate(base_url=address, session=session, additional_checks=[refused_for_a_reason])
