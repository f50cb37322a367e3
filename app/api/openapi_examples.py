"""Puts an example beside every body of the OpenAPI description: the one that its model gives.

A model's own example (`json_schema_extra`) stands in its schema. Many tools only look beside the body, and an
error's example should name the call that it stands at, so both are written there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from app.api.problems import PROBLEM_TYPE

_REFERENCE = "#/components/schemas/"


def add_examples(description: dict[str, Any]) -> None:
    """Complete the examples of a whole OpenAPI description, in place."""
    schemas = description.get("components", {}).get("schemas", {})
    for schema in schemas.values():
        for example in schema.get("examples", []):
            _restore_nulls(example, schema, schemas)
    for path, calls in description["paths"].items():
        for call in calls.values():
            for media in call.get("requestBody", {}).get("content", {}).values():
                _example_beside(media, schemas)
            for response in call["responses"].values():
                for kind, media in response.get("content", {}).items():
                    _example_beside(media, schemas)
                    if kind == PROBLEM_TYPE and "example" in media:
                        media["example"] = _problem_of(media["example"], path, call)


def _restore_nulls(example: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """FastAPI leaves nulls out of what it writes; a required field that is null belongs to its example."""
    schema = schemas.get(schema.get("$ref", "").removeprefix(_REFERENCE), schema)
    if isinstance(example, list):
        for item in example:
            _restore_nulls(item, schema.get("items", {}), schemas)
    elif isinstance(example, dict):
        properties = schema.get("properties", {})
        for name in schema.get("required", []):
            if {"type": "null"} in properties[name].get("anyOf", []):
                example.setdefault(name, None)
        for name, value in example.items():
            _restore_nulls(value, properties.get(name, {}), schemas)


def _example_beside(media: dict[str, Any], schemas: dict[str, Any]) -> None:
    if "example" in media or "examples" in media:
        return
    name = media.get("schema", {}).get("$ref", "").removeprefix(_REFERENCE)
    examples = schemas.get(name, {}).get("examples", [])
    if len(examples) == 1:
        media["example"] = examples[0]
    elif examples:
        media["examples"] = {f"example {number}": {"value": one} for number, one in enumerate(examples, 1)}


def _problem_of(example: dict[str, Any], path: str, call: dict[str, Any]) -> dict[str, Any]:
    """The example of an error at this call: its path, and a pointer to something that the call has."""
    problem = copy.deepcopy(example)
    problem["instance"] = path
    for parameter in call.get("parameters", []):
        if parameter["in"] == "path":
            shown = str(next(_examples_of(parameter), parameter["name"]))
            problem["instance"] = problem["instance"].replace("{" + parameter["name"] + "}", shown)
    if problem["errors"] and "requestBody" not in call:
        parameter = call["parameters"][0]
        problem["errors"] = [
            {"pointer": f"#{parameter['in']}/{parameter['name']}", "detail": "Input should be a valid value"}
        ]
    return problem


def _examples_of(parameter: dict[str, Any]) -> Iterator[Any]:
    if "example" in parameter:
        yield parameter["example"]
    examples = parameter.get("examples", parameter.get("schema", {}).get("examples", []))
    yield from (one["value"] for one in examples.values()) if isinstance(examples, dict) else examples
