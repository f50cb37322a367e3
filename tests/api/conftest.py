"""A running service over the drawn catalogue."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.application import create_app
from app.search_service import SearchService
from app.settings import Settings
from graph_store.data_dir import DataDir
from tests.shapes import Shape, all_shapes, draw, is_test, untagged_ids

Serve = Callable[..., Any]


@contextmanager
def serving(data: Path, **settings: Any) -> Iterator[TestClient]:
    """A client of a service that has started, and stops afterwards."""
    # Tests of the service do not depend on what happens to be set around them.
    chosen = Settings(data=data, **{"snapshot_poll_seconds": 0.05, **settings})
    with TestClient(create_app(chosen), base_url="http://localhost") as client:
        yield client


def service_of(client: TestClient) -> SearchService:
    """The service behind a client of `serving`."""
    service = client.app.state.service  # type: ignore[attr-defined]  # any ASGI application
    assert isinstance(service, SearchService)
    return service


@pytest.fixture(scope="session")
def client(built_data_dir: DataDir) -> Iterator[TestClient]:
    """The drawn catalogue, served. Only for reading."""
    with serving(built_data_dir.root) as started:
        yield started


@pytest.fixture(scope="session")
def indexed() -> list[Shape]:
    """Shapes that are in the index and carry tags."""
    shapes = all_shapes()
    bare = untagged_ids(shapes)
    return [shape for shape in shapes if not is_test(shape.id) and shape.id not in bare]


@pytest.fixture(scope="session")
def held_out() -> list[Shape]:
    """Shapes of the catalogue that are not in the index."""
    return [shape for shape in all_shapes() if is_test(shape.id)]


def png(shape: Shape, side: int = 96) -> bytes:
    """The picture of a shape as a file."""
    buffer = io.BytesIO()
    draw(shape, side).save(buffer, "PNG")
    return buffer.getvalue()


def problem(response: Any, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem in a response, which must be a whole one with that status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "title", "status", "detail", "instance", "errors"}
    assert body["status"] == status and body["detail"] and body["title"]
    if code is not None:
        assert body["type"] == f"urn:imsage:problem:{code}"
    return body
