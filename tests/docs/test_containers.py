"""The container files keep their promises: not root, a health check, a profile of its own for Milvus."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """The instructions of the last stage, continued lines joined and comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    instructions = [line for line in "\n".join(lines).replace("\\\n", "").splitlines() if line.strip()]
    last_from = max(i for i, line in enumerate(instructions) if line.startswith("FROM "))
    return instructions[last_from:]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(parsed, dict)
    return parsed


def instruction(dockerfile: list[str], name: str) -> str:
    found = [line.removeprefix(name).strip() for line in dockerfile if line.startswith(f"{name} ")]
    assert found, f"there is no {name}"
    return found[-1]


def test_the_image_does_not_run_as_root(dockerfile: list[str]) -> None:
    user, _, group = instruction(dockerfile, "USER").partition(":")

    assert int(user) > 0
    assert int(group) > 0


def test_the_image_asks_the_service_whether_it_is_ready(dockerfile: list[str]) -> None:
    command = json.loads(re.sub(r"^.*?CMD ", "", instruction(dockerfile, "HEALTHCHECK")))

    assert command[:2] == ["python", "-c"]
    assert "/readyz" in command[2]
    compile(command[2], "HEALTHCHECK", "exec")


def test_the_image_serves_by_default(dockerfile: list[str]) -> None:
    assert json.loads(instruction(dockerfile, "ENTRYPOINT")) == ["imsage"]
    assert json.loads(instruction(dockerfile, "CMD")) == ["serve"]


def test_every_image_of_the_compose_file_has_a_version(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert re.search(r":[vR]?\S*\d", service["image"]), name
        assert not service["image"].endswith(":latest"), name


def test_only_the_service_starts_without_a_profile(compose: dict[str, Any]) -> None:
    services = compose["services"]

    assert [name for name, service in services.items() if "profiles" not in service] == ["imsage"]
    assert {name for name, service in services.items() if service.get("profiles") == ["milvus"]} == {
        "etcd",
        "minio",
        "milvus",
    }
    assert [name for name, service in services.items() if service.get("profiles") == ["scale"]] == ["replica"]


def test_the_service_runs_on_a_read_only_root_with_its_data_in_a_volume(compose: dict[str, Any]) -> None:
    service = compose["services"]["imsage"]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    volume, place = service["volumes"][0].split(":")
    assert volume in compose["volumes"]
    assert place == "/data"


@pytest.mark.parametrize("name", ["imsage", "replica"])
def test_the_service_has_no_rights_that_it_does_not_need(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]

    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "pid", "network_mode", "user", "devices"} & set(service)
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"] is True and service["tmpfs"] == ["/tmp"]


def test_replicas_serve_what_the_service_publishes_and_cannot_change_it(compose: dict[str, Any]) -> None:
    service, replica = compose["services"]["imsage"], compose["services"]["replica"]

    assert replica["image"] == service["image"]
    (shared,) = replica["volumes"]
    volume, place, mode = shared.split(":")
    assert mode == "ro" and f"{volume}:{place}" in service["volumes"]
    assert replica["environment"]["IMSAGE_SNAPSHOT_STORE"].endswith(f":-file://{place}}}")
    assert replica["environment"]["IMSAGE_REPLICA"] == "true"
    assert "/store" in (ROOT / "Dockerfile").read_text().partition("install --directory")[2].splitlines()[0]


@pytest.mark.parametrize("name", ["imsage", "replica"])
def test_every_variable_of_ours_is_a_setting(compose: dict[str, Any], name: str) -> None:
    known = {f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields}

    assert set(compose["services"][name]["environment"]) <= known


def test_every_named_volume_is_declared(compose: dict[str, Any]) -> None:
    used = {
        volume.partition(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    }

    assert used == set(compose["volumes"])


def test_every_dependency_is_a_service(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
