"""The classes of the client's answers against the answers that the service describes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest

from app.api.application import create_app
from app.settings import Settings
from imsage import Answer, Image, Index, Job, Jobs, Neighbors, Prediction, Readiness, Removed, Stored
from imsage.answers import Answers, CountedTags, RemovedImage

CLASSES: dict[str, type] = {
    "POST /v1/search": Answer,
    "POST /v1/search/upload": Answer,
    "POST /v1/search/batch": Answers,
    "POST /v1/tags/predict": Prediction,
    "GET /v1/tags": CountedTags,
    "POST /v1/images": Stored,
    "POST /v1/images/delete": Removed,
    "GET /v1/images/{id}": Image,
    "PATCH /v1/images/{id}": Image,
    "DELETE /v1/images/{id}": RemovedImage,
    "GET /v1/images/{id}/neighbors": Neighbors,
    "POST /v1/jobs": Job,
    "GET /v1/jobs": Jobs,
    "GET /v1/jobs/{id}": Job,
    "POST /v1/jobs/{id}/cancel": Job,
    "POST /v1/jobs/{id}/resume": Job,
    "GET /v1/index": Index,
    "GET /readyz": Readiness,
}
NOT_ASKED = {"GET /livez"}
"""What the client has no call for: whether the process is alive is a question of whoever starts it."""


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI description."""
    empty: Path = tmp_path_factory.mktemp("empty")
    return create_app(Settings(data=empty)).openapi()


def answers_of(described: dict[str, Any]) -> dict[str, Any]:
    """The schema of the JSON that each call answers when it succeeds."""
    return {
        f"{method.upper()} {path}": response["content"]["application/json"]["schema"]
        for path, calls in described["paths"].items()
        for method, call in calls.items()
        for status, response in call["responses"].items()
        if status.startswith("2") and "application/json" in response.get("content", {})
    }


def dropped(schema: dict[str, Any], kind: Any, components: dict[str, Any]) -> Iterator[str]:
    """Each property of the schema, and of what lies in it, for which the class has no field."""
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    inner = [one for one in get_args(kind) if one is not NoneType]
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            if one != {"type": "null"}:
                yield from dropped(one, inner[0], components)
    elif "items" in schema:
        yield from dropped(schema["items"], inner[0], components)
    elif isinstance(schema.get("additionalProperties"), dict):
        yield from dropped(schema["additionalProperties"], inner[1], components)
    elif is_dataclass(kind):
        fields = get_type_hints(kind)
        for name, part in schema["properties"].items():
            if name in fields:
                yield from dropped(part, fields[name], components)
            else:
                yield f"{kind.__name__}.{name}"  # type: ignore[union-attr]  # a dataclass has a name


def test_every_answer_of_the_service_has_a_class_of_the_client(described: dict[str, Any]) -> None:
    assert answers_of(described).keys() == CLASSES.keys() | NOT_ASKED


@pytest.mark.parametrize("call", CLASSES)
def test_the_client_knows_every_field_of_an_answer(described: dict[str, Any], call: str) -> None:
    components = described["components"]["schemas"]

    assert list(dropped(answers_of(described)[call], CLASSES[call], components)) == []
