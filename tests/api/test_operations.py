"""What operators see: index, health, metrics, request ids, headers, the page, OpenAPI."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.api.job_schemas import ReindexRequest, TrainRequest
from app.api.middleware import DATA_POLICY, PAGE_POLICY
from app.api.schemas import BatchRequest, PredictRequest, SearchOptions, SearchRequest
from app.keys import create_key
from graph_store.data_dir import DataDir
from tests.api.conftest import serving
from tests.shapes import Shape


def samples(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_index_is_described(client: TestClient, indexed: list[Shape]) -> None:
    body = client.get("/v1/index").json()
    assert body["counts"]["images"] >= len(indexed) and body["counts"]["tags"] > 10
    assert body["encoder"]["name"] == "efficientnet_lite0" and body["degraded"] is None
    assert body["model"] and body["index_version"]


def test_health_is_told(client: TestClient) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    ready = client.get("/readyz").json()
    assert ready == {"status": "ok", "index_version": client.get("/v1/index").json()["index_version"]}


def test_every_stage_and_every_request_is_counted(built_data_dir: DataDir, indexed: list[Shape]) -> None:
    with serving(built_data_dir.root) as client:
        for _ in range(3):
            client.post("/v1/search", json={"image": {"id": indexed[0].id}})
        client.get("/v1/images/no/such")
        client.get("/nowhere")
        found = samples(client)
    for stage in ("attach", "search", "total"):
        assert found[("imsage_stage_seconds_count", (("stage", stage),))] == 3
    for stage in ("decode", "encode"):
        assert found[("imsage_stage_seconds_count", (("stage", stage),))] == 0

    def requests(method: str, route: str, status: int) -> float:
        labels = (("method", method), ("route", route), ("status", str(status)))
        return found[("imsage_requests_total", labels)]

    assert requests("POST", "/v1/search", 200) == 3
    assert requests("GET", "/v1/images/{id:path}", 404) == 1
    assert requests("GET", "unmatched", 404) == 1
    assert found[("imsage_index_images", ())] > 0 and found[("imsage_index_degraded", ())] == 0


def test_a_refused_request_is_counted_under_the_call_that_was_meant(built_copy: DataDir) -> None:
    key = create_key(built_copy, "scraper", "read")
    with serving(built_copy.root) as client:
        client.get("/v1/images/a/thumbnail")
        client.post("/v1/search", json={})
        client.head("/v1/images/a")
        client.get("/v1/nothing")
        told = client.get("/metrics", headers={"authorization": f"Bearer {key}"}).text
    for method, route in (
        ("GET", "/v1/images/{id:path}/thumbnail"),
        ("POST", "/v1/search"),
        ("HEAD", "/v1/images/{id:path}"),
        ("GET", "unmatched"),
    ):
        assert f'imsage_requests_total{{method="{method}",route="{route}",status="401"}} 1.0' in told


def test_a_request_keeps_a_sound_id_and_gets_one_otherwise(client: TestClient) -> None:
    assert client.get("/livez", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    made = client.get("/livez", headers={"x-request-id": "no spaces\tplease"}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{24}", made)


@pytest.mark.parametrize("path", ["/", "/jobs", "/v1/index", "/nowhere", "/static/main.js"])
def test_every_answer_carries_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = PAGE_POLICY if path in ("/", "/jobs", "/static/main.js") else DATA_POLICY
    assert headers["content-security-policy"] == policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers and "server" not in headers


@pytest.mark.parametrize("address", ["/", "/jobs"])
def test_the_pages_and_their_parts_are_served_and_nothing_around_them(
    client: TestClient, address: str
) -> None:
    page = client.get(address)
    assert page.headers["content-type"].startswith("text/html")
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert client.get(path).status_code == 200, path
    assert client.get("/static/..%2Fsettings.py").status_code == 404
    assert client.get("/docs").status_code == 404


def test_openapi_describes_every_call_with_examples_that_are_valid(client: TestClient) -> None:
    schema: dict[str, Any] = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {
        "/v1/search",
        "/v1/search/upload",
        "/v1/search/batch",
        "/v1/tags/predict",
        "/v1/tags",
        "/v1/images",
        "/v1/images/delete",
        "/v1/images/{id}",
        "/v1/images/{id}/file",
        "/v1/images/{id}/thumbnail",
        "/v1/images/{id}/neighbors",
        "/v1/jobs",
        "/v1/jobs/{id}",
        "/v1/jobs/{id}/events",
        "/v1/jobs/{id}/cancel",
        "/v1/jobs/{id}/resume",
        "/v1/index",
        "/livez",
        "/readyz",
        "/metrics",
    }
    components = schema["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schema)):
        assert name in components
    for model in (SearchRequest, SearchOptions, PredictRequest, BatchRequest, ReindexRequest, TrainRequest):
        examples = components[model.__name__]["examples"]
        assert examples
        for example in examples:
            model.model_validate_json(json.dumps(example))
    for path, calls in schema["paths"].items():
        for call in calls.values():
            assert call["summary"] and call["description"], path
            for status, response in call["responses"].items():
                if int(status) >= 400:
                    assert set(response["content"]) == {"application/problem+json"}
                    assert response["content"]["application/problem+json"]["example"]["status"] == int(status)
    assert "HTTPValidationError" not in components
