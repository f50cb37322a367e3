"""The OpenAPI description names the headers that tell a client what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.application import create_app
from app.settings import Settings

DESCRIPTION: dict[str, Any] = create_app(Settings(data=Path("nowhere"))).openapi()
SHOP = {"origin": "https://shop.example"}
# What every page may read (https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name).
READABLE = {"cache-control", "content-length", "content-type"}
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


@pytest.fixture(scope="module")
def shop() -> TestClient:
    """A client of a service that pages of another site may call."""
    app = create_app(Settings(data=Path("nowhere"), cors_origins=(SHOP["origin"],)))
    return TestClient(app, base_url="http://localhost")


def test_pages_of_another_site_may_send_every_header_that_is_described(shop: TestClient) -> None:
    sent = set()
    for path, calls in DESCRIPTION["paths"].items():
        for method, call in calls.items():
            described = call.get("parameters", [])
            headers = [each["name"] for each in described if each["in"] == "header"]
            sent |= {*headers}
            wanted = ", ".join(["Authorization", "Content-Type", "X-Request-Id", *headers])
            for asked in (method.upper(), "HEAD") if method == "get" else (method.upper(),):
                before = {
                    **SHOP,
                    "access-control-request-method": asked,
                    "access-control-request-headers": wanted,
                }
                answer = shop.options(path, headers=before)
                assert answer.status_code == 200, (asked, path, answer.text)
    assert {"If-None-Match", "Last-Event-ID"} <= sent


def test_pages_of_another_site_may_read_every_header_that_is_described(shop: TestClient) -> None:
    told = shop.get("/livez", headers=SHOP).headers["access-control-expose-headers"]
    exposed = {name.strip().lower() for name in told.split(",")}
    described = {
        name.lower()
        for calls in DESCRIPTION["paths"].values()
        for call in calls.values()
        for response in call["responses"].values()
        for name in response.get("headers", {})
    }
    assert {"content-range", "idempotent-replayed"} <= described
    assert described <= exposed | READABLE
