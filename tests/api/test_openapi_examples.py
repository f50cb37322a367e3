"""Every body in the OpenAPI description has an example beside it, and its schema allows the example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from app.api.application import create_app
from app.api.problems import PROBLEM_TYPE
from app.settings import Settings

DESCRIPTION: dict[str, Any] = create_app(Settings(data=Path("nowhere"))).openapi()
Media = tuple[str, str, str, dict[str, Any]]


def media_of_all_calls() -> Iterator[Media]:
    """(call, request or status, media type, media type object) of every body that is not bytes."""
    for path, calls in DESCRIPTION["paths"].items():
        for method, call in calls.items():
            name = f"{method.upper()} {path}"
            bodies = {"request": call.get("requestBody", {}), **call["responses"]}
            for which, body in bodies.items():
                for kind, media in body.get("content", {}).items():
                    if media["schema"].get("format") != "binary":
                        yield name, which, kind, media


def examples_of(media: dict[str, Any]) -> list[Any]:
    named = [example["value"] for example in media.get("examples", {}).values()]
    return [*named, *([media["example"]] if "example" in media else [])]


MEDIA = list(media_of_all_calls())
PROBLEMS = [one for one in MEDIA if one[2] == PROBLEM_TYPE]


@pytest.mark.parametrize("one", MEDIA, ids=lambda one: f"{one[0]} {one[1]}")
def test_every_body_has_an_example_that_its_schema_allows(one: Media) -> None:
    *_, media = one
    whole = {**media["schema"], "components": DESCRIPTION["components"]}
    validator = jsonschema_rs.validator_for(whole)

    assert examples_of(media)
    for example in examples_of(media):
        validator.validate(example)


@pytest.mark.parametrize("one", PROBLEMS, ids=lambda one: f"{one[0]} {one[1]}")
def test_the_example_of_an_error_is_one_of_this_call(one: Media) -> None:
    call, status, _, media = one

    for example in examples_of(media):
        assert example["status"] == int(status)
        assert re.fullmatch(re.sub(r"\{\w+\}", ".+", call.split()[1]), example["instance"])
        assert "{" not in example["instance"]


def parameters_of_all_calls() -> Iterator[tuple[str, dict[str, Any]]]:
    """(call, parameter) of everything that comes beside the bodies."""
    for path, calls in DESCRIPTION["paths"].items():
        for method, call in calls.items():
            for parameter in call.get("parameters", []):
                yield f"{method.upper()} {path}", parameter


PARAMETERS = list(parameters_of_all_calls())
IN_ADDRESSES = [one for one in PARAMETERS if one[1]["in"] in ("path", "query")]


def examples_of_parameter(parameter: dict[str, Any]) -> list[Any]:
    return parameter["schema"].get("examples", []) + examples_of(parameter)


@pytest.mark.parametrize("one", PARAMETERS, ids=lambda one: f"{one[0]} {one[1]['name']}")
def test_the_examples_of_a_parameter_are_what_its_schema_allows(one: tuple[str, dict[str, Any]]) -> None:
    _, parameter = one
    validator = jsonschema_rs.validator_for({**parameter["schema"], "components": DESCRIPTION["components"]})

    for example in examples_of_parameter(parameter):
        validator.validate(example)


@pytest.mark.parametrize("one", IN_ADDRESSES, ids=lambda one: f"{one[0]} {one[1]['name']}")
def test_what_stands_in_an_address_has_an_example(one: tuple[str, dict[str, Any]]) -> None:
    assert examples_of_parameter(one[1])


def test_every_refusal_is_described_as_a_problem() -> None:
    for path, calls in DESCRIPTION["paths"].items():
        for call in calls.values():
            for status, response in call["responses"].items():
                assert int(status) < 400 or set(response["content"]) == {PROBLEM_TYPE}, (path, status)


def test_every_call_and_every_parameter_says_what_it_is_for() -> None:
    for path, calls in DESCRIPTION["paths"].items():
        for call in calls.values():
            assert call["summary"] and call["description"], path
            assert all(parameter.get("description") for parameter in call.get("parameters", [])), path
