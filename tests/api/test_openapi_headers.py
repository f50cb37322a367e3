"""The OpenAPI description names the headers that tell a client what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.application import create_app
from app.settings import Settings

DESCRIPTION: dict[str, Any] = create_app(Settings(data=Path("nowhere"))).openapi()
PICTURES = ("/v1/images/{id}/file", "/v1/images/{id}/thumbnail")


def answers(status: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(call, response) of every answer with that status."""
    for path, calls in DESCRIPTION["paths"].items():
        for method, call in calls.items():
            if status in call["responses"]:
                yield f"{method.upper()} {path}", call["responses"][status]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("401", "WWW-Authenticate"),
        ("405", "Allow"),
        ("416", "Content-Range"),
        ("429", "Retry-After"),
        ("503", "Retry-After"),
    ],
)
def test_every_refusal_of_a_kind_is_said_to_carry_its_header(status: str, name: str) -> None:
    described = list(answers(status))
    assert described
    for call, response in described:
        assert response["headers"][name]["required"], call


@pytest.mark.parametrize("path", PICTURES)
@pytest.mark.parametrize("status", ["200", "206", "304"])
def test_every_answer_with_a_picture_is_said_to_carry_its_etag(path: str, status: str) -> None:
    headers = DESCRIPTION["paths"][path]["get"]["responses"][status]["headers"]
    assert headers["ETag"]["required"]


def test_where_a_job_is_followed_is_said_by_the_calls_that_start_one() -> None:
    named = {call for call, response in answers("202") if "Location" in response.get("headers", {})}
    assert named == {"POST /v1/jobs", "POST /v1/jobs/{id}/resume"}
